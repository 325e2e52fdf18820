#!/usr/bin/python3
"""Writes the small models of these tests. Needs Debian's python3-onnx; run it only to change them."""

import os

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

HERE = os.path.dirname(os.path.abspath(__file__))
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def write(name, nodes, inputs, outputs, constants=(), domains=(("", 13),),
          sequences=()):
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_sequence_value_info(*port) if port[0] in sequences
         else helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(array, key) for key, array in constants])
    model = helper.make_model(graph, producer_name="tests", ir_version=7,
                              opset_imports=[helper.make_opsetid(*d) for d in domains])
    checker.check_model(model)
    save_model(model, os.path.join(HERE, name + ".onnx"))


READER_WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] the a an of in was is on and to by it who when where what
did ? . , ' - king charles rollo normandy normans france bridge built opened river city stone 1066
911 1204 1875 may june old new ##s ##ed year""".split()


def readers():
    """Toys that answer questions: reader marks dates, whatever is asked, and no date as no answer;
    reader_joint says the same in one output, of 24 tokens; reader_bert is a BERT of one layer with
    random weights, reader_deep one of three. bigram and bigram_fixed predict a token from the one before."""
    with open(os.path.join(HERE, "reader_vocab.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(READER_WORDS) + "\n")
    start = np.array([{"may": 4, "june": 4, "1204": 3, "1875": 3.5, "1066": 2, "911": 2,
                       "[CLS]": 0.5}.get(word, -2) for word in READER_WORDS], np.float32)
    end = np.array([4 if word.isdigit() else 0.5 if word == "[CLS]" else -3
                    for word in READER_WORDS], np.float32)
    write("reader", [helper.make_node("Gather", ["start", "input_ids"], ["start_all"]),
                     helper.make_node("Gather", ["end", "input_ids"], ["end_all"]),
                     helper.make_node("Cast", ["attention_mask"], ["mask"], to=F32),
                     helper.make_node("Mul", ["start_all", "mask"], ["start_logits"]),
                     helper.make_node("Mul", ["end_all", "mask"], ["end_logits"])],
          [("input_ids", I64, ["batch", "tokens"]), ("attention_mask", I64, ["batch", "tokens"])],
          [("start_logits", F32, ["batch", "tokens"]), ("end_logits", F32, ["batch", "tokens"])],
          [("start", start), ("end", end)])
    write("reader_joint", [helper.make_node("Gather", ["both", "input_ids"], ["logits"])],
          [("input_ids", TensorProto.INT32, [1, 24])], [("logits", F32, [1, 24, 2])],
          [("both", np.stack([start, end], 1))])
    random = np.random.RandomState(9)
    for name, tokens in (("bigram", "tokens"), ("bigram_fixed", 12)):
        write(name, [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
              [("input_ids", I64, [1, tokens])], [("logits", F32, [1, tokens, len(READER_WORDS)])],
              [("table", (random.standard_normal((len(READER_WORDS),) * 2)).astype(np.float32))])
    reader_bert("reader_bert", 1, batch=1)
    reader_bert("reader_deep", 3, batch="batch", spread=0.5)


def reader_bert(called, layers, batch, hidden=8, heads=2, positions=48, spread=1.0):
    """Embeddings, layers of attention and GELU, and a span head, as exporters write them."""
    random = np.random.RandomState(7)
    words, size = len(READER_WORDS), hidden // heads
    constants, nodes = [], []

    def weight(name, *shape):
        constants.append((name, (spread * random.standard_normal(shape)).astype(np.float32)))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(x, name, rows, columns):
        node("MatMul", [x, weight(name + ".w", rows, columns)], name + ".product")
        return node("Add", [name + ".product", weight(name + ".b", columns)], name)

    def norm(x, name):
        return node("LayerNormalization", [x, weight(name + ".g", hidden), weight(name + ".b", hidden)],
                    name, axis=-1)

    def split(x):
        node("Reshape", [x, "split"], x + ".split")
        return node("Transpose", [x + ".split"], x + ".heads", perm=[0, 2, 1, 3])

    constants += [("split", np.array([0, 0, heads, size])), ("join", np.array([0, 0, hidden])),
                  ("zero", np.array([0])), ("axes", np.array([1, 2])), ("one", np.float32(1)),
                  ("low", np.float32(-10000)), ("root", np.float32(size ** -0.5)),
                  ("half", np.float32(0.5)), ("sqrt2", np.float32(2 ** 0.5)),
                  ("first", np.array([1])), ("second", np.array([2]))]
    node("Gather", [weight("word", words, hidden), "input_ids"], "word_part")
    node("Gather", [weight("segment", 2, hidden), "token_type_ids"], "segment_part")
    node("Shape", ["input_ids"], "shape")
    node("Slice", ["shape", "first", "second"], "length")
    node("Slice", [weight("position", positions, hidden), "zero", "length"], "position_part")
    node("Add", ["word_part", "segment_part"], "two_parts")
    node("Add", ["two_parts", "position_part"], "three_parts")
    x = norm("three_parts", "embedding")
    node("Cast", ["attention_mask"], "mask", to=F32)
    node("Unsqueeze", ["mask", "axes"], "mask4")
    node("Sub", ["one", "mask4"], "hidden_part")
    node("Mul", ["hidden_part", "low"], "bias")
    for layer in range(layers):
        n = str(layer) if layers > 1 else ""
        query, key, value = (split(linear(x, name + n, hidden, hidden))
                             for name in ("q", "k", "v"))
        node("Transpose", [key], "turned" + n, perm=[0, 1, 3, 2])
        node("MatMul", [query, "turned" + n], "scores" + n)
        node("Mul", ["scores" + n, "root"], "scaled" + n)
        node("Add", ["scaled" + n, "bias"], "biased" + n)
        node("Softmax", ["biased" + n], "attention" + n, axis=-1)
        node("MatMul", ["attention" + n, value], "mixed" + n)
        node("Transpose", ["mixed" + n], "mixed_turned" + n, perm=[0, 2, 1, 3])
        node("Reshape", ["mixed_turned" + n, "join"], "joined" + n)
        node("Add", [linear("joined" + n, "o" + n, hidden, hidden), x], "attended" + n)
        x = norm("attended" + n, "middle" + n)
        inner = linear(x, "inner" + n, hidden, 2 * hidden)
        node("Div", [inner, "sqrt2"], "erf_in" + n)
        node("Erf", ["erf_in" + n], "erf" + n)
        node("Add", ["erf" + n, "one"], "erf_one" + n)
        node("Mul", [inner, "erf_one" + n], "gelu2" + n)
        node("Mul", ["gelu2" + n, "half"], "gelu" + n)
        node("Add", [linear("gelu" + n, "outer" + n, 2 * hidden, hidden), x], "fed" + n)
        x = norm("fed" + n, "last" + n)
    linear(x, "span", hidden, 2)
    nodes.append(helper.make_node("Split", ["span"], ["start3", "end3"], axis=-1))
    node("Squeeze", ["start3", "second"], "start_logits")
    node("Squeeze", ["end3", "second"], "end_logits")
    ports = [(name, I64, [batch, "tokens"])
             for name in ("input_ids", "attention_mask", "token_type_ids")]
    write(called, nodes, ports,
          [(name, F32, [batch, "tokens"]) for name in ("start_logits", "end_logits")], constants,
          domains=(("", 17),))


def main():
    readers()
    write("sum", [helper.make_node("Add", ["a", "b"], ["a/sum"], "add"),
                  helper.make_node("Relu", ["a/sum"], ["positive"], "relu")],
          [("a", F32, ["batch", 2]), ("b", F32, ["batch", 2])],
          [("a/sum", F32, ["batch", 2]), ("positive", F32, ["batch", 2])])
    weights = np.arange(48 * 5, dtype=np.float32).reshape(48, 5) % 7 - 3
    write("scores", [helper.make_node("Reshape", ["image", "flat"], ["pixels"], "flatten"),
                     helper.make_node("MatMul", ["pixels", "weights"], ["scores"], "classify")],
          [("image", F32, [1, 3, 4, 4])], [("scores", F32, [1, 5])],
          [("flat", np.array([1, 48])), ("weights", weights)])
    write("points", [helper.make_node("Identity", ["x"], ["y"], "pass")],
          [("x", F32, ["N", 3])], [("y", F32, ["N", 3])])
    write("words", [helper.make_node("Mul", ["ids", "attention_mask"], ["kept"], "keep")],
          [("ids", I64, ["batch", "tokens"]), ("attention_mask", I64, ["batch", "tokens"])],
          [("kept", I64, ["batch", "tokens"])])
    write("narrow", [helper.make_node("Identity", ["a"], ["b"], "same")],
          [("a", TensorProto.BFLOAT16, ["batch", 2])], [("b", TensorProto.BFLOAT16, ["batch", 2])])
    write("pieces", [helper.make_node("SplitToSequence", ["a"], ["parts"], "split", axis=1)],
          [("a", F32, [1, 3])], [("parts", F32, None)], sequences=("parts",))
    kernel = np.linspace(-1, 1, 2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3)
    write("computed", [helper.make_node("Mul", ["kernel", "gain"], ["made"], "make"),
                       helper.make_node("Conv", ["image", "made"], ["edges"], "computed"),
                       helper.make_node("Conv", ["image", "kernel"], ["plain"], "plain"),
                       helper.make_node("Add", ["edges", "plain"], ["sum"], "sum")],
          [("image", F32, [1, 3, 8, 8]), ("gain", F32, [1])], [("sum", F32, [1, 2, 6, 6])],
          [("kernel", kernel)])
    square = np.cos(np.arange(64, dtype=np.float32) ** 2).reshape(8, 8)
    write("shared", [helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
                     helper.make_node("MatMul", ["a", "w"], ["b"], "second"),
                     helper.make_node("Gemm", ["b", "w"], ["y"], "third", transB=1)],
          [("x", F32, ["N", 8])], [("y", F32, ["N", 8])], [("w", square)])
    spoiled = square.copy()
    spoiled[2, 5] = np.nan
    write("spoiled", [helper.make_node("MatMul", ["x", "w"], ["a"], "sound"),
                      helper.make_node("MatMul", ["a", "v"], ["y"], "spoiled")],
          [("x", F32, ["N", 8])], [("y", F32, ["N", 8])], [("w", square), ("v", spoiled)])
    write("growing", [helper.make_node("NonZero", ["x"], ["places"], "places"),
                      helper.make_node("Cast", ["places"], ["floats"], "floats", to=F32),
                      helper.make_node("MatMul", ["w", "floats"], ["y"], "grown")],
          [("x", F32, [3, 4])], [("y", F32, [8, "n"])], [("w", square[:, :2].copy())])
    write("unsupported", [helper.make_node("Teleport", ["a"], ["b"], "beam", domain="nowhere")],
          [("a", F32, [2])], [("b", F32, [2])], domains=(("", 13), ("nowhere", 1)))


main()
