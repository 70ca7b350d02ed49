"""Makes the golden archive of this format version, once: `python -m tests.golden.make NUMBER`.

It holds a short simulated run with its log under a log key, signed, redacted and judged again. The private keys are
thrown away: nobody can make another one that passes for it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from benchmarks.rehearsal import STEPS, bench_text, short_policy
from harness.archive import keys, record, signature
from harness.archive.log import Log
from harness.archive.verify import judge_again
from harness.bench import parse
from harness.cli import app
from harness.run import Options, Run

HERE = Path(__file__).parent


def main(number: str) -> None:
    """Write ``tests/golden/<number>/``; refuses to write over one."""
    target = HERE / number
    target.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        secret = Path(scratch)
        for name in ("golden.lab", "golden.log"):
            keys.create(secret / name, name)
        Log.create(target / "simulated" / "log", simulated=True, key_file=secret / "golden.log")
        policy = secret / "short.toml"
        policy.write_text(short_policy(), encoding="utf-8")
        run = Run(parse(bench_text()), Options(results=target, policy=str(policy)))
        steps = [(f"golden::{name}", "ab", STEPS[name]) for name in ("optical", "service")]
        run.commit(steps, collect_only=False)
        for _, link, step in steps:
            run.certify(step.requirement, run.measure(link, step, lambda _: None))
        path = run.opened.path
        result = run.finish(cut_off=False)
        if result is None or result["verdict"] != "PASS" or run.unsealed:
            shutil.rmtree(target)
            found = f"{result and result['verdict']} {run.unsealed}"
            sys.exit(f"wanted a PASS to keep; found {found}; make it on a quiet machine")
        lab = keys.load(secret / "golden.lab")
        signature.sign(path, lab)
        stricter = short_policy().replace("limit_ns = 1_000_000", "limit_ns = 100_000").replace('"short"', '"stricter"')
        again, _ = judge_again(path, stricter, reason="a tenth of the limit, so that it fails")
        record.judged_again(Log(target / "simulated" / "log"), path.name, again)
        signature.sign(again, lab)
        public = "".join((secret / f"{name}.pub").read_text(encoding="utf-8") for name in ("golden.lab", "golden.log"))
        done = CliRunner().invoke(app, ["redact", str(path)])
        if done.exit_code:
            sys.exit(done.stderr)
    (target / "simulated" / "log" / "key-file").unlink()  # where the private key was, on this machine
    (target / "trust").write_text(public, encoding="utf-8")
    print(path.name, again.name)


if __name__ == "__main__":
    main(sys.argv[1])
