"""TRL on the inputs of the benchmark, one step at a time; runs in the peer's own environment.

python peer_trainer.py {sft,grpo,opd} INPUTS SCRATCH
"""

import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", WANDB_DISABLED="true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from datasets import load_dataset
from step_gate import Gate
from transformers import AutoTokenizer, TrainerCallback

which, inputs, scratch = sys.argv[1:]
gate = Gate()
tokens = [0]


class WaitAfterEachStep(TrainerCallback):
    def on_step_end(self, args, state, control, **rest):
        gate.pass_through(tokens=tokens[0])
        tokens[0] = 0


settings = {
    "output_dir": scratch,
    "max_steps": 1000,
    "gradient_checkpointing": False,
    "bf16": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "use_cpu": True,
    "seed": 0,
    "disable_tqdm": True,
}


def chat():
    return load_dataset("json", data_files=f"{inputs}/chat.jsonl", split="train")


def prompts():
    rows = load_dataset("json", data_files=f"{inputs}/prompts.jsonl", split="train")
    return rows.map(
        lambda row: {"prompt": [{"role": "user", "content": row["question"]}]}, remove_columns=rows.column_names
    )


def count_sft_tokens(trainer):
    """Real tokens of the batches that go through the model."""
    compute = trainer.compute_loss

    def counting(model, batch, *rest, **named):
        mask = batch.get("attention_mask")
        tokens[0] += int(mask.sum()) if mask is not None else batch["input_ids"].numel()
        return compute(model, batch, *rest, **named)

    trainer.compute_loss = counting


if which == "sft":
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=f"{inputs}/policy",
        args=SFTConfig(per_device_train_batch_size=4, max_length=512, packing=True, learning_rate=1e-4, **settings),
        train_dataset=chat(),
        callbacks=[WaitAfterEachStep()],
    )
    count_sft_tokens(trainer)
elif which == "grpo":
    from trl import GRPOConfig, GRPOTrainer

    def rate(completions, **rest):
        return [float("a" in completion[0]["content"]) for completion in completions]

    trainer = GRPOTrainer(
        model=f"{inputs}/policy",
        args=GRPOConfig(
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=64,
            beta=0.0,
            learning_rate=1e-5,
            **settings,
        ),
        train_dataset=prompts(),
        reward_funcs=rate,
        callbacks=[WaitAfterEachStep()],
    )
else:
    from trl import DistillationConfig, DistillationTrainer

    trainer = DistillationTrainer(
        model=f"{inputs}/policy",
        teacher_model=f"{inputs}/teacher",
        args=DistillationConfig(
            per_device_train_batch_size=16,
            max_completion_length=64,
            beta=1.0,
            temperature=1.0,
            learning_rate=1e-5,
            **settings,
        ),
        train_dataset=prompts(),
        processing_class=AutoTokenizer.from_pretrained(f"{inputs}/policy"),
        callbacks=[WaitAfterEachStep()],
    )
trainer.train()
