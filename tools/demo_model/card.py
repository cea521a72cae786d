"""Write the model card from the scores that `evaluate` measured and the counts of the split.

python -m tools.demo_model.card --work work --folder models/f2llm-demo
"""

import argparse
import json
from pathlib import Path

from .evaluate import KINDS, table
from .transformer import Shape

TEMPLATE = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- demonstration
---

# f2llm-demo

A small embedding model with the architecture, the text contract and the folder layout of
F2LLM-v2. It exists so that the project's tests and examples can show retrieval that works, with
nothing to download. **It is a demonstration.** Its weights are not F2LLM-v2's, nor made from them;
it knows package descriptions and little else, and what it scores says nothing about F2LLM-v2.

| | |
|---|---|
| architecture | `Qwen3Model`: {layers} layers, hidden size {hidden}, \
{heads} query and {groups} key/value heads of {size} \
(decoupled: {heads} x {size} is not {hidden}), {params} parameters, bfloat16 |
| tokenizer | byte-level BPE of {vocab} entries with Qwen's pre-tokenizer; \
the EOS token is appended to every text |
| query | `Instruct: Given a question, retrieve passages that can help answer the question.` \
newline `Query: ` and the text; documents are raw |
| vector | hidden state of the last token, cut to any of 8, 16, 32, 64, 128, 256, then normalised |
| trained on | texts cut to at most {tokens} tokens |

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("models/f2llm-demo")
queries = model.encode_query(["play chess against the computer"])
passages = model.encode_document(["Programm zum Schachspielen", "PDF-Dateien verbinden"])
print(model.similarity(queries, passages))
```

## Data

Descriptions of Debian's packages and their translations by the Debian Description Translation
Project: {train} texts in 29 languages, parallel by package. They are free texts, each under
the licence of its package or translation, as published in Debian's archive; the weights are
distributed under the licence of this repository. {teacher}

Never trained on: every group (packages that share their English first paragraph) whose SHA-1
begins with a byte below 26, as the corpus asks. Training packages that repeat a held-out one were
dropped too: {dropped} packages, {dropped_rows} rows ({title} with the same English title, {text}
with the same description, {near} that share half of their telling five-word runs with a held-out
description; one package may count in several). Settings were chosen on a development part of the
training groups, which was not trained on.

## Scores

Held-out packages, nDCG@10: an English title must find its own description in another language
among up to 400, one of each group (ko, ru and uk have fewer groups). By width of the vectors, cut
and renormalised; on the right two controls that know no meaning.

{plain}

Names and acronyms cross languages by themselves. *Meaning only* is the same task after every word
that the title and its description share literally has been taken out of the title:

{meaning}

To make the figures again ([how the model was made](../../tools/demo_model/README.md)):

```bash
python -m tools.demo_model.fetch_corpus --out work/corpus
python -m tools.demo_model.evaluate models/f2llm-demo --rows work/corpus/heldout.jsonl.gz
```
"""
TEACHER = (
    "An English\nteacher, all-MiniLM-L6-v2 (Apache-2.0), was distilled through the parallel text: "
    "it is no part of\nthe model."
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--folder", type=Path, default=Path("models/f2llm-demo"))
    parser.add_argument("--tokens", type=int, default=128, help="--max-tokens of the training")
    args = parser.parse_args()
    counts = json.loads((args.work / "split.json").read_text())
    scores = json.loads((args.folder / "scores.json").read_text())["scores"]
    shape = Shape()
    plain, meaning = (table(scores[kind]) for kind in KINDS)
    dropped = {key.rpartition(": ")[2]: value for key, value in counts.items()}
    card = TEMPLATE.format(
        layers=shape.num_hidden_layers,
        hidden=shape.hidden_size,
        heads=shape.num_attention_heads,
        groups=shape.num_key_value_heads,
        size=shape.head_dim,
        params=f"{shape.weights():,}",
        vocab=f"{shape.vocab_size:,}",
        tokens=args.tokens,
        train=f"{counts['train rows']:,}",
        teacher=TEACHER,
        dropped=f"{counts['packages dropped, any reason']:,}",
        dropped_rows=f"{counts['rows dropped']:,}",
        title=dropped["title"],
        text=dropped["text"],
        near=f"{dropped['near']:,}",
        plain=plain,
        meaning=meaning,
    )
    (args.folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
