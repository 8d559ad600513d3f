"""Which stacks there are, in which Regions, and what must be there before what."""

from __future__ import annotations

from aws_cdk import App, Environment

from infra.parts.encrypted_logs import encrypt_logs
from infra.parts.never import forbid
from infra.settings import Deployment
from infra.stacks.backup import BackupStack
from infra.stacks.memory import MemoryStack
from infra.stacks.recovery import RecoveryStack
from infra.stacks.vault import VaultStack
from infra.stacks.watch import WatchStack


def add_stacks(app: App, deployment: Deployment) -> None:
    """The app has every stack of the deployment.

    Stacks of one Region wait for each other where one uses what the other names. Only the ledger waits for other
    Regions: a replica cannot be made before its key.
    """

    def at(region: str) -> Environment:
        return Environment(account=deployment.account, region=region)

    home = deployment.home
    vaults = {
        region: VaultStack(app, f"HoldfastVault-{region}", deployment=deployment, env=at(region))
        for region in deployment.regions
    }
    watches = {
        region: WatchStack(app, f"HoldfastWatch-{region}", deployment=deployment, env=at(region))
        for region in deployment.regions
    }
    memory = MemoryStack(app, "HoldfastMemory", deployment=deployment, env=at(home))
    backup = BackupStack(app, "HoldfastBackup", deployment=deployment, ledger=memory.ledger, env=at(home))
    recoveries = {
        region: RecoveryStack(app, f"HoldfastRecovery-{region}", deployment=deployment, env=at(region))
        for region in deployment.regions
    }

    for stack in (*watches.values(), backup, *recoveries.values()):
        forbid(stack)
        encrypt_logs(stack, vaults[stack.region].key)

    for region, watch in watches.items():
        watch.add_stack_dependency(vaults[region], "its topic is encrypted under the key")
    for vault in vaults.values():
        memory.add_stack_dependency(vault, "every replica is encrypted under the key of its Region")
    backup.add_stack_dependency(watches[home], "its functions publish to the topic")
    for region, recovery in recoveries.items():
        recovery.add_stack_dependency(watches[region], "its functions publish to the topic")
        recovery.add_stack_dependency(memory, "its functions read the ledger or its replica")
        if region == home:
            recovery.add_stack_dependency(backup, "its functions publish to the bus")
