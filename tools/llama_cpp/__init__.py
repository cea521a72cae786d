"""Model files for llama.cpp, for `make e2e` and the benchmark."""
