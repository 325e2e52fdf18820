#!/usr/bin/python3
"""Writes a task for models that answer questions, without a language to learn: SQuAD files of random
words, their vocabulary, and an untrained encoder of four layers.

    span_task.py DIRECTORY [--tokens 64] [--words 64] [--train 20000] [--seed 1] [--pairs]

A question is one word, its answer the only place where the context has it. With --pairs it is two,
which follow one another once and stand alone in some places, and the answer is the three words
behind them: that takes an encoder far longer to learn.
"""

import argparse
import json
import os
import random

FIRST = 10  # number of the first word


def draw_single(draw, size, words):
    """Context, question, first and last word of the answer, as numbers."""
    key = draw.randrange(words)
    context = [draw.choice([word for word in range(words) if word != key]) for _ in range(size)]
    at = draw.randrange(size)
    context[at] = key
    return context, [key], at, at


def draw_pair(draw, size, words):
    while True:
        pair = draw.sample(range(words), 2)
        context = [draw.randrange(words) for _ in range(size)]
        at = draw.randrange(size - 5)
        places = draw.sample([p for p in range(size - 1) if abs(p - at) > 6], 8)
        for place in places[:draw.randint(2, 4)]:
            context[place] = pair[0]
        for place in places[4:4 + draw.randint(2, 4)]:
            context[place + 1] = pair[1]
        context[at:at + 2] = pair
        if sum(context[p:p + 2] == pair for p in range(size - 1)) == 1:
            return context, pair, at + 2, at + 4


def spell(numbers):
    return " ".join(f"w{FIRST + number}" for number in numbers)


def write_questions(path, count, seed, options):
    draw = random.Random(seed)
    size = options.tokens - (5 if options.pairs else 4)
    paragraphs = []
    for index in range(count):
        context, question, first, last = (draw_pair if options.pairs else draw_single)(
            draw, size, options.words)
        before = spell(context[:first])
        answer = {"text": spell(context[first:last + 1]),
                  "answer_start": len(before) + (1 if before else 0)}
        paragraphs.append({"context": spell(context),
                           "qas": [{"id": str(index), "question": spell(question),
                                    "answers": [answer]}]})
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": "1.1", "data": [{"title": "words", "paragraphs": paragraphs}]}, file)


def write_encoder(path, options):
    """Four layers of width 64, as an exporter of BERT writes them."""
    import torch  # pylint: disable=import-outside-toplevel
    import networks  # pylint: disable=import-outside-toplevel
    torch.manual_seed(7)
    network = networks.QuestionAnswerer(5 + options.words, 64, 4, 4, 128,
                                        positions=options.tokens)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
                module.weight.normal_(0, 0.1)
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
    row = torch.ones((2, options.tokens), dtype=torch.int64)
    inputs, outputs = ("input_ids", "attention_mask", "token_type_ids"), ("start_logits",
                                                                         "end_logits")
    torch.onnx.export(network.eval(), (row, row, row), path, input_names=inputs,
                      output_names=outputs, opset_version=17,
                      dynamic_axes={name: {0: "N", 1: "T"} for name in (*inputs, *outputs)})


def main():
    parser = argparse.ArgumentParser(description="Write a task of spans.")
    parser.add_argument("directory")
    parser.add_argument("--tokens", type=int, default=64, help="of question and context together")
    parser.add_argument("--words", type=int, default=64)
    parser.add_argument("--train", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.directory, exist_ok=True)

    def path(name):
        return os.path.join(options.directory, name)

    for number, (name, count) in enumerate((("train", options.train), ("dev", 500),
                                            ("calibrate", 1500))):
        write_questions(path(f"{name}.json"), count, options.seed + number, options)
    with open(path("vocab.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
                              *spell(range(options.words)).split()]) + "\n")
    write_encoder(path("encoder.onnx"), options)


if __name__ == "__main__":
    main()
