"""The example of README.md runs as it is printed."""

import os
import pathlib
import re
import subprocess
import sys

from daemon import GENERATED, ROOT


def test_python_example(shared_daemon, tmp_path):
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 1
    script = tmp_path / "example.py"
    script.write_text(blocks[0].replace("localhost:50051", shared_daemon.address))
    environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(GENERATED) / "python"))
    result = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True,
                            text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.strip().splitlines()) >= 2
