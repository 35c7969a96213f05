"""A payment that survives its process: killed between the charge and the receipt, and finished by another.

Run it: python examples/payments.py
"""

import os
import signal
import subprocess
import sys

from holdfast import Holdfast, Operation, embedded

provider: list[str] = []  # in real life, somebody else's service


def pay(op: Operation[dict[str, int]]) -> None:
    """Charge once, then send a receipt. What was reached is in op.checkpoints."""
    if "charged" in op.checkpoints:
        print(f"  attempt {op.attempt}: charged before, as {op.checkpoints['charged']}")
    else:
        provider.append(f"ch_{op.id}")
        op.checkpoint("charged", provider[-1])
        print(f"  attempt {op.attempt}: charged {op.data['amount']}", flush=True)
    if "--die" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)  # a deployment, the OOM killer, a power cut
    op.complete({"receipt": f"for {op.checkpoints['charged']}"})


def connect(url: str) -> Holdfast:
    return Holdfast(url, namespace="shop")


if "--die" in sys.argv:
    with (
        connect(sys.argv[1]) as hf,
        hf.operations("payments", lease="1s").run("ann", "7", {"amount": 500}) as op,
    ):
        pay(op)

with embedded.start() as server, connect(server.url) as hf:
    payments = hf.operations("payments", lease="1s")
    subprocess.run([sys.executable, __file__, server.url, "--die"], check=False)
    print(f"the process is dead; the payment is {payments.inspect('ann', '7').state}")

    watcher = payments.watch(pay)  # every process of the service does this
    print(payments.wait("ann", "7", wait="20s"))
    watcher.close()
    print(f"charges made by this process: {len(provider)}")
