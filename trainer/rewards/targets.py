"""How many tokens a row asks for."""

from trainer.contract.rewards.lcpo import LcpoReward
from trainer.contract.rewards.lcpo_max import LcpoMaxReward
from trainer.rewards.base import Fault, Row


def target_tokens(row: Row, config: LcpoReward | LcpoMaxReward) -> int:
    """Raises Fault where the row does not say."""
    if config.target:
        return config.target
    if reason := missing_target(row, config):
        raise Fault(f"The row has {reason}.")
    return int(row[config.target_field])


def missing_target(row: Row, config: LcpoReward | LcpoMaxReward) -> str:
    """What the row lacks; empty when nothing."""
    if config.target:
        return ""
    value = row.get(config.target_field)
    if value is None:
        return f"no `{config.target_field}`"
    whole = str(value).strip()
    # A row field may come from a spreadsheet as text.
    fine = not isinstance(value, bool) and whole.isascii() and whole.isdigit() and int(whole) > 0
    return "" if fine else f"a `{config.target_field}` that is no whole number of tokens"
