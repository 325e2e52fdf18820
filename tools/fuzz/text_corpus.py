#!/usr/bin/python3
"""Writes the seed corpora of the fuzzers for text below tests/fuzz/corpus: valid tokenizers and
texts, files that break one rule each, and seeded mutations. The same script writes the same files.
"""
import json
import struct

from make_corpus import write

WORDS = ["[UNK]", "[CLS]", "[SEP]", "a", "##b", "b", ",", "é"]
VOCAB = {word: i for i, word in enumerate(WORDS)}


def tokenizer(model, **parts):
    return json.dumps({"model": model, **parts}, ensure_ascii=False).encode()


def pieces(**parts):
    return tokenizer({"type": "WordPiece", "unk_token": "[UNK]", "vocab": VOCAB}, **parts)


def scored(tokens, longest=16):
    data = struct.pack("<i", longest)
    for token, score in tokens:
        data += struct.pack("<fi", score, len(token)) + token
    return data


def llama2():
    tokens = [(b"<unk>", 0), (b"<s>", 0), (b"</s>", 0)]
    tokens += [(b"<0x%02X>" % i, 0) for i in range(256)]
    return tokens + [(b" ", 0), (b"a", -1), (b" a", -2), (b"b", -3), (b" ab", -4)]


def tokenizers():
    pairs = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]}
    form = {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}}
    valid = ["\n".join(WORDS).encode(), "\r\n".join(WORDS).encode(), pieces(),
             pieces(normalizer={"type": "BertNormalizer"}, decoder={"type": "WordPiece"},
                    pre_tokenizer={"type": "BertPreTokenizer"}, post_processor=form,
                    added_tokens=[{"id": 0, "content": "[UNK]", "special": True}]),
             pieces(normalizer={"type": "Sequence", "normalizers": [
                 {"type": "NFKC"}, {"type": "Strip"}, {"type": "Prepend", "prepend": "_"},
                 {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]}),
             pieces(pre_tokenizer={"type": "Sequence", "pretokenizers": [
                 {"type": "Metaspace"}, {"type": "Digits"}, {"type": "Punctuation"},
                 {"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithNext"}]}),
             tokenizer(pairs, pre_tokenizer={"type": "ByteLevel"}, decoder={"type": "ByteLevel"}),
             tokenizer({**pairs, "byte_fallback": True, "ignore_merges": True,
                        "end_of_word_suffix": "</w>"},
                       decoder={"type": "Sequence", "decoders": [
                           {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "BPEDecoder"},
                           {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},
                           {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}),
             tokenizer({"type": "WordLevel", "unk_token": "[UNK]", "vocab": VOCAB}),
             scored(llama2())]
    deep = {"type": "Lowercase"}
    for _ in range(20):
        deep = {"type": "Sequence", "normalizers": [deep, deep] if _ < 8 else [deep]}
    hostile = [b"", b"{}", b"{\"", b"[UNK]\n\xff\n", scored(llama2())[:-1],
               scored(llama2(), longest=2), scored(llama2()[:100]), scored([], longest=-1),
               pieces(normalizer=deep),
               tokenizer({"type": "Unigram"}), tokenizer({"type": "WordPiece", "vocab": {"a": 2**40}}),
               tokenizer({"type": "WordPiece", "unk_token": "a", "vocab": {"a": 2000000}}),
               tokenizer({**pairs, "merges": ["a"]}), tokenizer({**pairs, "merges": [["a", 1]]}),
               tokenizer({**pairs, "merges": ["a z"]}), pieces(added_tokens=[{"id": 3, "content": "x"}]),
               pieces(added_tokens=[{"id": 9, "content": ""}]),
               pieces(post_processor={**form, "special_tokens": {}})]
    write("tokenizer", valid, hostile)


def texts():
    valid = [s.encode() for s in (
        "", "a", "Aa, a12.", "  a\t\n", "[MASK] [CLS]a", "é É e\u0301", "a\u0323\u0302\u0327",
        "中国a", "\u200ba\u00ad", "<x> a<x>a", "ab ab  aab", "'s 'T 12", "\ufdfa" * 3, "한국",
        "\u1112\u1161\u11ab", "a" * 120, "\u0301" * 50 + "\u0323" * 50, "😀 👩‍👩‍👧", "İi\u0130")]
    hostile = [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\0a\0",
               b"\xe2\x80", b"a" * 5000, "é".encode() * 3000]
    write("encode", valid, hostile)


def questions():
    def file(context, *asked):
        return json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": [
            {"context": context, "qas": list(asked)}]}]}).encode()

    def ask(text, start, **more):
        return {"id": "1", "question": "the who is it?",
                "answers": [{"text": text, "answer_start": start}], **more}

    valid = [file("Rollo was here.", ask("Rollo", 0)), file("é Rollo", ask("Rollo", 2)),
             file("a", ask("a", 0), ask("a", 0, is_impossible=True)),
             file("a", {"id": "2", "question": "a an the", "answers": []})]
    hostile = [b"{}", b'{"data": 1}', file("a", ask("ab", 0)), file("a", ask("a", 1)),
               file("a", ask("a", -1)), file("a", ask("a", 2**40)), file("", ask("", 0))]
    write("squad", valid, hostile)


if __name__ == "__main__":
    tokenizers()
    texts()
    questions()
