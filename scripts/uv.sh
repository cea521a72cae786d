# Sourced by the scripts beside it: finds uv, or fetches it into .uv, and sets $uv and $python.
python=${PYTHON:-python3}

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=$PWD/.uv/bin/uv
    [ -x "$uv" ] || "$python" -m pip install --quiet --target .uv "uv>=0.9.25"
fi

# uv does not read pip's settings: where pip was given a folder of wheels, hand it over.
links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}}
[ -z "$links" ] || export UV_FIND_LINKS="${links// /,}"
