"""A program that is killed with -9 at each of its calls that write, one process a call."""

from __future__ import annotations

AT_EVERY_CALL = """
def killed_at(root, moment):
    calls = 0
    def dying(true, half):
        def call(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == moment:
                if half:
                    true(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return true(*arguments, **named)
        return call
    os.write, os.fsync = dying(os.write, True), dying(os.fsync, False)
    Path.replace, Path.mkdir = dying(Path.replace, False), dying(Path.mkdir, False)
    note = os.open(root.with_name(root.name + ".acknowledged"), os.O_WRONLY | os.O_CREAT)
    run(root, lambda n: os.pwrite(note, b"%06d" % n, 0))
    os._exit(0)

for moment in range(1, 1000):
    child = os.fork()
    if child == 0:
        killed_at(Path(sys.argv[1]) / f"{moment:04}", moment)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
sys.exit(9)
"""
"""Goes after imports of os, signal, sys and Path, and after ``run(root, acknowledged)``, which it runs in ``root``.

``root`` is argv[1]/NNNN for the NNNN-th call; what was acknowledged last stands in NNNN.acknowledged beside it.
"""
