"""Call functions of a script, in an environment of its own: calls.py SCRIPT CALLS.

CALLS is a JSON list. Each call names a function of the script, its arguments, and the file to keep the answer in:
the ids, the embeddings, and whatever else the script saw.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np


def main(script: str, calls: str) -> None:
    functions = runpy.run_path(script)
    for call in json.loads(Path(calls).read_text()):
        answer = functions[call["function"]](**call["arguments"])
        if answer is not None:
            ids, embeddings, facts = answer
            np.savez(call["answer"], ids=np.asarray(ids), embeddings=np.asarray(embeddings), facts=json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
    # The answers are written, so leave at once: threads of some libraries abort an interpreter that ends as usual.
    sys.stdout.flush()
    os._exit(0)
