"""Take tiktoken's ranks from the litellm wheel again, and check them against the hashes that tiktoken expects.

pip download --no-deps --dest /tmp/litellm litellm
python tools/refresh_ranks.py /tmp/litellm/litellm-*.whl
"""

from __future__ import annotations

import hashlib
import lzma
import sys
import zipfile
from pathlib import Path

from runner.gateway.tokens import RANKS

TARGET = Path(__file__).resolve().parent.parent / "runner" / "gateway" / "ranks"


def main(wheel: str) -> None:
    """Write the packaged ranks anew from a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for encoding, (name, digest) in RANKS.items():
            ranks = archive.read(f"litellm/litellm_core_utils/tokenizers/{name}")
            if hashlib.sha256(ranks).hexdigest() != digest:
                sys.exit(f"{encoding}: the wheel's ranks are not those that tiktoken expects; nothing was written")
            (TARGET / f"{encoding}.tiktoken.xz").write_bytes(lzma.compress(ranks, preset=9 | lzma.PRESET_EXTREME))
            sys.stdout.write(f"{encoding}: {len(ranks):,} bytes of ranks\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
