"""The charts of a run: which keys stand together, under which question, and how each chart is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """One chart. A key that ends in `*` stands for all that begin so, `held_out/loss` for `held_out/<any>/loss`."""

    title: str
    unit: str
    note: str
    """What a value is."""
    help: str
    """One sentence on how to read the chart."""
    keys: tuple[str, ...]
    names: tuple[str, ...] = ()
    """What the curves are called, where their keys do not say it."""
    if_never: str = ""
    """Said in place of a chart whose values were all zero."""


@dataclass(frozen=True)
class PlannedSection:
    name: str
    title: str
    question: str
    prefix: str
    """Keys that begin so and have no plan get a chart of their own here; empty: none do."""
    plans: tuple[Plan, ...]


NATS = "nats per token"
_POLICY_LOSS = Plan(
    "Policy loss",
    "",
    "mean over the trained tokens of each step",
    "Its height says little and it need not fall; look for jumps, which come before trouble elsewhere.",
    ("policy/loss",),
)

PLANNED = (
    PlannedSection(
        "reward",
        "Reward",
        "Does the policy do better at what is rewarded?",
        "",
        (
            Plan(
                "Reward",
                "",
                "mean of each step, components before their weights",
                "The total should rise; a component that falls while another rises is what the policy pays with.",
                ("rollout/reward", "rollout/reward/*"),
                ("total",),
            ),
            Plan(
                "Spread within a prompt",
                "",
                "standard deviation among the rollouts of one prompt, mean over prompts",
                "Near zero all rollouts of a prompt earn the same and there is nothing to learn from them.",
                ("rollout/reward_std",),
            ),
        ),
    ),
    PlannedSection(
        "completions",
        "Completions",
        "What do the completions look like?",
        "rollout",
        (
            Plan(
                "Completion length",
                "tokens",
                "mean of each step",
                "A climb to the limit or a fall to a few tokens, while the reward rises, hints at a reward that is "
                "gamed; read some rollouts.",
                ("rollout/length",),
            ),
            Plan(
                "Cut at the limit",
                "share",
                "of completions that did not end by themselves",
                "Should fall or stay low; a cut completion is rarely a right one.",
                ("rollout/truncated_share",),
                (),
                "No completion was cut.",
            ),
            Plan(
                "Masked rollouts",
                "",
                "that give no gradient in each step",
                "Where a stage chooses among completions the others train nothing; elsewhere a rise means a failing "
                "reward or a strict filter, and the rollouts say which.",
                ("rollout/masked",),
                (),
                "No rollout was masked.",
            ),
            Plan(
                "Failed rewards",
                "rollouts",
                "of each step whose component could not be computed",
                "A failed reward is no reward of zero; its rollout is left out, and the rollouts tab says what went "
                "wrong.",
                ("rollout/faults/*",),
                (),
                "No reward failed.",
            ),
        ),
    ),
    PlannedSection(
        "update",
        "Policy update",
        "Is each update small enough to be safe?",
        "policy",
        (
            Plan(
                "Entropy",
                NATS,
                "of the policy on what it sampled",
                "A slow fall is normal; near zero the policy has stopped trying other answers, and growth without end "
                "means that it falls apart.",
                ("policy/entropy",),
            ),
            Plan(
                "KL to the reference",
                NATS,
                "estimated on the sampled tokens",
                "Slow growth is learning; a jump is damage to what the model could do before.",
                ("policy/kl",),
            ),
            Plan(
                "Clipped tokens",
                "share",
                "of trained tokens whose ratio left the clip range",
                "A few percent are normal; more means that the steps are too large for the clip range.",
                ("policy/clip_fraction",),
                (),
                "No token was clipped.",
            ),
            Plan(
                "Largest ratio",
                "",
                "new over old probability of a token, largest of each step",
                "Near one is calm; spikes are single tokens that pull at the whole step.",
                ("policy/ratio_max",),
            ),
            Plan(
                "Sampler against trainer",
                NATS,
                "difference of their log-probs of the same token",
                "Should be as small as rounding; if it grows, the sampler runs other weights than the trainer.",
                ("policy/logp_gap", "policy/logp_gap_max"),
                ("mean", "largest"),
            ),
            _POLICY_LOSS,
            Plan(
                "KL term of the loss",
                "",
                "as weighted by the recipe",
                "Compare its size with the policy loss: the larger one steers.",
                ("policy/kl_loss",),
            ),
        ),
    ),
    PlannedSection(
        "distil",
        "Distillation",
        "Does the student come nearer to its teacher?",
        "distil",
        (
            Plan(
                "Divergence from the teacher",
                NATS,
                "on completions of the student and on those of the data",
                "Both should fall; if only the one off policy does, the student copies but leaves the path when it "
                "walks alone.",
                ("distil/divergence_on_policy", "distil/divergence_off_policy"),
                ("on policy", "off policy"),
            ),
            Plan(
                "Likelihood of given answers",
                NATS,
                "cross-entropy on the answers of the rows",
                "Should fall as in fine-tuning; it is a loss beside the teacher's.",
                ("distil/ce",),
            ),
        ),
    ),
    PlannedSection(
        "preference",
        "Preferences",
        "Does the policy tell better answers from worse?",
        "preference",
        (
            Plan(
                "Right side preferred",
                "share",
                "of pairs whose chosen answer gained more than the rejected one",
                "Starts at one half and should rise; a quick one hundred percent means pairs that are too easy.",
                ("preference/accuracy",),
            ),
            Plan(
                "Margin",
                "nats per answer",
                "gain of the chosen over the rejected answer, against the reference",
                "Should grow slowly; a run-away margin is paid for by both answers becoming unlikely.",
                ("preference/margin",),
            ),
            Plan(
                "Gain of each side",
                "nats per answer",
                "log-prob against the reference",
                "If both fall, the policy is pushed away from all that the data says, the chosen answers too.",
                ("preference/chosen", "preference/rejected"),
                ("chosen", "rejected"),
            ),
            Plan(
                "Pairs",
                "",
                "of own completions, in each step",
                "Fewer than prompts means ties; without any, the step teaches nothing.",
                ("preference/pairs",),
            ),
            Plan(
                "Ties",
                "share",
                "of prompts whose completions are worth the same, so that none is preferred",
                "Near one there is nothing to learn from; sample hotter, or reward more finely.",
                ("preference/tied_share",),
                (),
                "No prompt was a tie.",
            ),
            Plan(
                "Reward apart",
                "",
                "of the preferred completion over the other, mean over the pairs of each step",
                "Small differences are near to chance; the field least_difference leaves them out.",
                ("preference/reward_difference",),
            ),
        ),
    ),
    PlannedSection(
        "filter",
        "Filter",
        "How much of what the policy writes is good enough to be learned?",
        "filter",
        (
            Plan(
                "Prompts with a best completion",
                "share",
                "of prompts of which one completion trains",
                "Near zero the stage learns from almost nothing; the prompts are too hard or the rewards too coarse.",
                ("filter/kept_share",),
            ),
            Plan(
                "Reward of what trains",
                "",
                "mean over the best completions of each step",
                "Lies above the mean reward; once the two meet, choosing gains nothing any more.",
                ("filter/reward",),
            ),
        ),
    ),
    PlannedSection(
        "knowledge",
        "Knowledge injection",
        "Is the text learned, and does the reward survive it?",
        "knowledge",
        (
            Plan(
                "Knowledge loss",
                NATS,
                "next-token loss on the text, on steps that drew it",
                "Should fall; together with a reward that holds, the text is learned without harm to the answers.",
                ("knowledge/loss",),
            ),
            Plan(
                "Knowledge term of the loss",
                "",
                "as weighted by the recipe",
                "Compare its size with the policy loss: the larger one steers.",
                ("train/knowledge",),
            ),
        ),
    ),
    PlannedSection(
        "train",
        "Training",
        "Does the loss fall, and is the optimiser calm?",
        "train",
        (
            Plan(
                "Loss",
                NATS,
                "mean over the training tokens of each step",
                "Should fall quickly, then slowly; what is minimised is the sum over the terms of the stage.",
                ("train/loss",),
            ),
            Plan(
                "Negative log-likelihood",
                NATS,
                "of the training tokens, whatever the objective",
                "Compares objectives with each other; it may rise while an objective that forgives unlikely tokens "
                "falls.",
                ("train/nll",),
            ),
            Plan(
                "Kept tokens",
                "share",
                "of training tokens on the side of the threshold that trains",
                "Shows how much of the data the threshold uses.",
                ("train/kept_share",),
            ),
            Plan(
                "Learning rate",
                "",
                "of each step",
                "Shows warm-up and decay as the recipe asks for them.",
                ("train/learning_rate",),
            ),
            Plan(
                "Gradient norm",
                "",
                "before it is clipped",
                "Spikes are single batches that pull hard; a steady climb announces divergence.",
                ("train/grad_norm",),
            ),
            Plan(
                "Skipped steps",
                "steps",
                "left out so far, because loss or gradient was no finite number",
                "Each rise is one step without an update; three in a row stop the run.",
                ("train/skipped_steps",),
                (),
                "No step was skipped: loss and gradient were finite throughout.",
            ),
            Plan(
                "Tokens",
                "tokens",
                "trained on so far, over all stages",
                "A straight line means batches of equal size.",
                ("train/tokens",),
            ),
        ),
    ),
    PlannedSection(
        "held_out",
        "Held-out",
        "Does it hold on rows that no stage trains on?",
        "",
        (
            Plan(
                "Held-out loss",
                NATS,
                "on rows that no stage trains on",
                "Should fall with the training loss; once it rises while that still falls, the model learns by heart.",
                ("held_out/loss",),
            ),
            Plan(
                "Held-out reward",
                "",
                "of the likeliest completion of each prompt",
                "Should follow the training reward; a gap that widens means that the prompts are learned by heart.",
                ("held_out/reward", "held_out/reward/*"),
            ),
            Plan(
                "Held-out divergence from the teacher",
                NATS,
                "on the student's own completions and on given answers",
                "Should fall with the divergence in training; on policy is what counts once the student answers alone.",
                ("held_out/divergence_on_policy", "held_out/divergence_off_policy"),
                ("on policy", "off policy"),
            ),
            Plan(
                "Held-out completion length",
                "tokens",
                "of the likeliest completion of each prompt",
                "Should move with the length in training.",
                ("held_out/length",),
            ),
            Plan(
                "Held-out completions cut",
                "share",
                "that did not end by themselves",
                "Should fall or stay low.",
                ("held_out/truncated_share",),
                (),
                "No held-out completion was cut.",
            ),
            Plan(
                "Held-out rewards that failed",
                "completions",
                "without a reward, and by component",
                "A failed reward is no reward of zero; such completions are left out of the mean.",
                ("held_out/masked", "held_out/faults/*"),
                (),
                "No reward failed on held-out prompts.",
            ),
        ),
    ),
    PlannedSection(
        "mixture",
        "Mixture",
        "How much of each source has been drawn?",
        "mixture",
        (
            Plan(
                "Drawn for training",
                "",
                "tokens, or prompts where completions are sampled, since the stage began",
                "The slope is the share of a source; a curve that begins late enters late, one that lies flat has "
                "left the mixture.",
                ("mixture/data/*",),
            ),
            Plan(
                "Text that was read",
                "tokens",
                "since the stage began",
                "The slope is the share of a source of the corpus.",
                ("mixture/corpus/*",),
            ),
        ),
    ),
    PlannedSection(
        "system",
        "System",
        "How fast is it, and with how much memory?",
        "system",
        (
            Plan(
                "Speed",
                "tokens per second",
                "",
                "Drops show where something else used the machine.",
                ("system/tokens_per_s",),
            ),
            Plan(
                "Time per step",
                "seconds",
                "",
                "Steps with longer completions take longer.",
                ("system/seconds_per_step",),
            ),
            Plan(
                "Idle device",
                "share",
                "of the step's time",
                "High where tools, judges or other processes are waited for.",
                ("system/idle_share",),
            ),
            Plan("Memory", "MB", "of the trainer", "Steady growth ends in a crash.", ("system/memory_mb",)),
            Plan("Power", "W", "mean of half a minute", "Only where all of it is known.", ("system/watts",)),
        ),
    ),
)
UNCHARTED = {"knowledge/coin": "knowledge", "distil/on_policy": "distil"}
"""Tosses of a coin, shown as a ledger at the head of a section."""
MAIN = ("rollout/reward", "distil/divergence_on_policy", "train/loss")
"""Keys of the chart that the overview shows: the first whose curve is as new as any of them."""
KNOWN = {plan.keys[0]: plan for section in PLANNED for plan in section.plans}
"""Every key that has a title of its own."""


def describe_key(key: str) -> tuple[str, str]:
    """Title and unit of a single curve; the key itself where nothing is known."""
    if key.startswith("held_out/") and key.count("/") >= 2:
        dataset, _, measure = key.removeprefix("held_out/").partition("/")
        known = KNOWN.get(f"held_out/{measure}")
        title = known.title if known else measure.replace("_", " ").replace("/", ", ").capitalize()
        return f"{title}, {dataset}", known.unit if known else ""
    if key.startswith("rollout/reward/"):
        return f"Reward, {key.removeprefix('rollout/reward/').replace('_', ' ')}", ""
    for section in PLANNED:
        for plan in section.plans:
            if key in plan.keys:
                named = plan.keys.index(key) < len(plan.names) and len(plan.keys) == len(plan.names)
                return f"{plan.title}, {plan.names[plan.keys.index(key)]}" if named else plan.title, plan.unit
    return key, ""
