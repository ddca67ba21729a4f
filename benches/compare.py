#!/usr/bin/env python3
"""Does the same job with qwen-lora and with transformers + peft, in turn on this machine, and prints the ratios.

    python benches/compare.py train --config CONFIG --model FOLDER [--steps 6] [--rounds 3] [--threads 2] [--binary PATH]
    python benches/compare.py generate --config CONFIG --model FOLDER [--rounds 3] [--batch 1] [--dtype float32]

train: both read the config's rows in the same order (torch's permutation), with the same text, loss, optimizer and
schedule, in f32 on the CPU. Label tokens a second exclude loading and the first two steps.

generate: greedy answers of --tokens tokens to as many questions at once as --batch says, prompts included, loading not.
--dtype is what transformers computes in; qwen-lora always computes in f32, with weights as the file has them.

Needs torch, transformers and peft. With --python it does one job with them and prints a JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UNTIMED_STEPS = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["train", "generate"])
    parser.add_argument("--config", required=True)
    parser.add_argument("--model", required=True, help="a model folder; random weights do for speed")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, help="rows a pass for Python; the step's rows stay the same")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: bf16 on both sides")
    parser.add_argument("--batch", type=int, default=1, help="questions at once")
    parser.add_argument("--tokens", type=int, default=64, help="tokens an answer")
    parser.add_argument("--dtype", default="float32", help="what transformers generates in")
    parser.add_argument("--binary", default="target/release/qwen-lora")
    parser.add_argument("--python", action="store_true", help="transformers + peft only, once")
    return parser.parse_args()


def train_with_python(args):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

    torch.set_num_threads(args.threads)
    config = json.load(open(args.config))
    training, lora = config["training"], config["lora"]
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    dtype = torch.float32 if args.device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).to(args.device)
    targets = lora["target_modules"]
    model = get_peft_model(model, LoraConfig(r=lora["r"], lora_alpha=lora["lora_alpha"], target_modules=targets,
                                             lora_dropout=lora["lora_dropout"], task_type="CAUSAL_LM"))
    model.config.use_cache = False
    model.train()

    records = [json.loads(line) for line in open(config["train_file"], encoding="utf-8") if line.strip()]
    rows = []
    for record in records:
        text = f"User: {record['question']}\nAssistant: {record['answer']}{tokenizer.eos_token}"
        rows.append(tokenizer(text)["input_ids"][: config["max_length"]])
    window = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    micro = args.micro_batch or training["per_device_train_batch_size"]
    seed = training.get("seed", 42)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=training["learning_rate"], weight_decay=0.0)
    total = -(-len(rows) // window) * training["num_train_epochs"]
    schedule = get_linear_schedule_with_warmup(optimizer, training.get("warmup_steps", 0), total)

    seconds, labels, losses = [], [], []
    for step in range(args.steps):
        started = time.perf_counter()
        chosen = [rows[i] for i in order[step * window : (step + 1) * window]]
        count = sum(len(row) - 1 for row in chosen)
        loss_sum = 0.0
        for start in range(0, len(chosen), micro):
            batch = chosen[start : start + micro]
            width = max(map(len, batch))
            ids = torch.zeros(len(batch), width, dtype=torch.long)
            mask = torch.zeros(len(batch), width, dtype=torch.long)
            targets = torch.full((len(batch), width), -100)
            for k, row in enumerate(batch):
                ids[k, : len(row)] = targets[k, : len(row)] = torch.tensor(row)
                mask[k, : len(row)] = 1
            ids, mask, targets = ids.to(args.device), mask.to(args.device), targets.to(args.device)
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].flatten(0, 1).float()
            loss = torch.nn.functional.cross_entropy(logits, targets[:, 1:].flatten(), reduction="sum") / count
            loss.backward()
            loss_sum += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, training.get("max_grad_norm", 1.0))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if args.device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        labels.append(count)
        losses.append(loss_sum)
    speed = sum(labels[UNTIMED_STEPS:]) / sum(seconds[UNTIMED_STEPS:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"label_tokens_per_s": speed, "peak_rss_mib": peak, "losses": losses}))


def train_with_rust(args):
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "device": args.device,
            "model_name": args.model,
            "training.max_steps": args.steps,
            "training.logging_steps": 1,
            "training.evaluation_strategy": "no",
            "training.eval_on_start": False,
            "training.load_best_model_at_end": False,
            "training.early_stopping_patience": None,
            "training.output_dir": f"{folder}/out",
            "training.logging_dir": f"{folder}/logs",
        }
        command = [args.binary, "train", "--json", "--no-dashboard", "--config", args.config]
        for key, value in settings.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        env = dict(os.environ, RAYON_NUM_THREADS=str(args.threads))
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        report = json.loads(ran.stdout.splitlines()[-1])
        log = json.load(open(Path(folder) / "out" / "trainer_state.json"))["log_history"]
        report["losses"] = [entry["loss"] for entry in log if "loss" in entry]
        return report


def questions(args):
    return [f"How often should I do strength training in week {week}?" for week in range(1, args.batch + 1)]


def generate_with_python(args):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype)).to(args.device).eval()
    prompts = tokenizer([f"User: {q}\nAssistant:" for q in questions(args)], return_tensors="pt", padding=True)
    prompts = prompts.to(args.device)
    settings = {"max_new_tokens": args.tokens, "min_new_tokens": args.tokens, "do_sample": False, "repetition_penalty": 1.0}
    with torch.no_grad():
        model.generate(**prompts, **settings)  # a first time, not counted
        started = time.perf_counter()
        model.generate(**prompts, **settings)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tokens_per_s": args.batch * args.tokens / seconds, "peak_rss_mib": peak}))


def generate_with_rust(args):
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "device": args.device,
            "inference.base_model_name": args.model,
            "inference.adapter_path": f"{folder}/none",
            "inference.generation.max_new_tokens": args.tokens,
            "inference.generation.do_sample": False,
            "inference.generation.repetition_penalty": 1.0,
            "training.logging_dir": f"{folder}/logs",
        }
        command = ["/usr/bin/time", "-f", "%M", args.binary, "infer", "--json", "--mode", "base", "--config", args.config]
        for key, value in settings.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        for question in questions(args):
            command += ["--question", question]
        env = dict(os.environ, RAYON_NUM_THREADS=str(args.threads))
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        answers = [json.loads(line) for line in ran.stdout.splitlines()]
        tokens = sum(len(answer["token_ids"]) for answer in answers)
        assert tokens == args.batch * args.tokens, "an answer ended early: the figures would not compare"
        seconds = max(len(answer["token_ids"]) / answer["tokens_per_second"] for answer in answers)
        return {"tokens_per_s": tokens / seconds, "peak_rss_mib": int(ran.stderr.split()[-1]) / 1024}


def main():
    args = arguments()
    ours, theirs = [], []
    with_rust, with_python = {
        "train": (train_with_rust, train_with_python),
        "generate": (generate_with_rust, generate_with_python),
    }[args.job]
    if args.python:
        return with_python(args)
    for number in range(args.rounds):
        ours.append(with_rust(args))
        env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
        ran = subprocess.run([sys.executable, *sys.argv, "--python"], check=True, capture_output=True, text=True, env=env)
        theirs.append(json.loads(ran.stdout.splitlines()[-1]))
        if args.job == "train":
            # Dropout differs, so only the first loss, before any update, must agree closely.
            first = [side[-1]["losses"][0] for side in (ours, theirs)]
            print(f"round {number + 1}: first loss {first[0]:.5f} / {first[1]:.5f}", flush=True)
    for key in ("label_tokens_per_s", "tokens_per_s", "peak_rss_mib"):
        if key not in ours[0]:
            continue
        pairs = [(a[key], b[key]) for a, b in zip(ours, theirs)]
        ratio = statistics.median(a / b for a, b in pairs)
        a, b = (statistics.median(side) for side in zip(*pairs))
        print(f"{key}: qwen-lora {a:.1f}, transformers + peft {b:.1f}, ratio {ratio:.2f} (medians of {len(pairs)} pairs)")


if __name__ == "__main__":
    main()
