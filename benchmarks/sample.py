"""Time and memory that the synthetic lender needs, by default at the size of Kaggle's download: 307,511 applicants with
a known outcome and 48,744 without, about 58 million rows in total.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from credit_assets.synthetic.lender import generate

LABELLED, UNLABELLED = 307_511, 48_744


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the batch 2026-01 is written (2.5 GB at full size)")
    parser.add_argument("--applicants", type=int, default=LABELLED + UNLABELLED)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()

    wall, cpu = time.perf_counter(), time.process_time()
    share = UNLABELLED / (LABELLED + UNLABELLED)
    (batch,) = generate(
        arguments.folder,
        arguments.applicants,
        seed=arguments.seed,
        unlabelled=0,
        test_share=share,
        progress=print,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    files = sorted(batch.glob("*.csv"))
    rows = {}
    for path in files:
        with path.open("rb") as file:
            rows[path.stem] = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b"")) - 1
    result = {
        "applicants": arguments.applicants,
        "rows": rows,
        "rows in all": sum(rows.values()),
        "GB": round(sum(path.stat().st_size for path in files) / 1e9, 2),
        "wall seconds": round(wall, 1),
        "CPU seconds": round(cpu, 1),
        "peak GB of memory": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
