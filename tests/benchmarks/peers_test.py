"""The logic of benchmarks/peers, without any peer."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))

import numpy as np

import cases
import checkpoints
import record_peers
import safetensors
import shapes
import statistics_of as st
import vocabulary

TINY = shapes.Shape("tiny", 512, 64, 96, 2, 4, 2, tied=True)


class Statistics(unittest.TestCase):
    def test_ratios_pair_runs_of_the_same_repeat(self):
        self.assertEqual(st.ratios({0: 10, 1: 30, 2: 5}, {1: 10, 0: 5}), [2, 3])
        self.assertEqual(st.ratios({0: 1}, {0: 0}), [])

    def test_share_of_floor(self):
        # 10 GB/s and 1 GB a step: 10 steps a second at best; 4 streams do 20 tokens in 5 steps.
        self.assertAlmostEqual(st.share_of_floor(20, 4, 1e9, 10e9), 50)

    def test_cells(self):
        self.assertEqual(st.cell([2.0]), "2")
        self.assertEqual(st.cell([3.0, 1.0, 2.0]), "2 (1–3)")
        self.assertEqual(st.cell([12345.6]), "12,346")


class Vocabulary(unittest.TestCase):
    def test_tokens_are_unique_and_every_merge_makes_one(self):
        for size in (300, 1000, 20000):
            tokens, merges = vocabulary.vocabulary(size)
            self.assertEqual(len(tokens), size)
            self.assertEqual(len(set(tokens)), size)
            self.assertEqual(["".join(pair) for pair in merges], tokens[256:-2])
            known = set(tokens)
            self.assertTrue(all(left in known and right in known for left, right in merges))

    def test_the_bytes_come_first(self):
        symbols = vocabulary.byte_symbols()
        self.assertEqual(len(set(symbols)), 256)
        self.assertEqual(symbols[ord("a")], "a")
        self.assertEqual(symbols[ord(" ")], "Ġ")

    def test_the_file_numbers_tokens_in_order(self):
        model = json.loads(vocabulary.tokenizer_json(400))
        self.assertEqual(sorted(model["model"]["vocab"].values()), list(range(400)))
        self.assertEqual([token["id"] for token in model["added_tokens"]], [398, 399])


class Quantisation(unittest.TestCase):
    def setUp(self):
        self.values = np.random.default_rng(3).standard_normal((16, 64)).astype(np.float32)
        self.values[5] = 0

    def test_int8_comes_back_within_half_a_step(self):
        codes, scale = checkpoints.quantise_rows_int8(self.values)
        self.assertEqual(np.abs(codes).max(), 127)
        error = np.abs(codes * scale - self.values)
        self.assertTrue((error <= scale / 2 + 1e-6).all())

    def test_int4_comes_back_within_half_a_step(self):
        packed, zeros, scales = checkpoints.quantise_groups_int4(self.values, 32)
        self.assertEqual((packed.shape, zeros.shape, scales.shape), ((8, 16), (2, 2), (2, 16)))
        codes = np.stack([(packed >> (4 * i)) & 15 for i in range(8)], axis=1).reshape(64, 16)
        zero = (zeros[0, 0] & 15) + 1  # stored less one
        scale = np.repeat(scales.astype(np.float32), 32, axis=0)
        error = np.abs((codes - zero) * scale - self.values.T)
        self.assertTrue((error <= scale * 0.51 + 1e-6).all())

    def test_bf16_rounds_to_nearest_even(self):
        values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -2.5], np.float32)
        self.assertEqual(list(safetensors.from_bf16(safetensors.to_bf16(values))),
                         [1.0, 1.0, 1 + 2**-6, -2.5])

    def test_rotary_order_pairs_the_halves(self):
        rows = np.arange(8, dtype=np.uint16)[:, None]
        self.assertEqual(checkpoints.rotary_order(rows, 2)[:, 0].tolist(), [0, 2, 1, 3, 4, 6, 5, 7])


class Checkpoints(unittest.TestCase):
    def test_forms_have_their_tensors_and_sizes(self):
        with tempfile.TemporaryDirectory() as root:
            bf16 = pathlib.Path(root) / "bf16"
            checkpoints.make_bf16(TINY, bf16)
            stored = safetensors.read(bf16 / "model.safetensors")
            embedding = safetensors.from_bf16(stored["model.embed_tokens.weight"][1])
            self.assertTrue((embedding[:256] == 0).all() and (embedding[-2:] == 0).all())
            self.assertTrue((embedding[256:-2] != 0).any(axis=1).all())
            whole = shapes.step_bytes(safetensors.sizes(bf16 / "model.safetensors"))
            smaller = {}
            for name in ("int8", "int8-head", "int4", "int4-head"):
                directory = pathlib.Path(root) / name
                checkpoints.make_quantised(TINY, shapes.FORMATS[name], bf16, directory)
                smaller[name] = shapes.step_bytes(safetensors.sizes(directory / "model.safetensors"))
                config = json.loads((directory / "config.json").read_text())
                self.assertEqual(config["tie_word_embeddings"], not name.endswith("head"))
            self.assertLess(smaller["int8"], whole)
            self.assertLess(smaller["int8-head"], smaller["int8"])
            self.assertLess(smaller["int4"], smaller["int8"])
            self.assertLess(smaller["int4-head"], smaller["int8-head"])

    def test_an_untied_embedding_is_not_read_whole(self):
        sizes = {"model.embed_tokens.weight": 100, "model.norm.weight": 1}
        self.assertEqual(shapes.step_bytes(sizes), 101)
        self.assertEqual(shapes.step_bytes({**sizes, "lm_head.weight": 50}), 51)
        self.assertEqual(shapes.step_bytes({"token_embd.weight": 9, "output.weight": 5}), 5)


class Record(unittest.TestCase):
    def run_of(self, side, repeat, rate):
        return {"shape": "s", "format": "f", "case": "decode", "side": side, "repeat": repeat,
                "load": 0.5, "bandwidth": 10e9, "step_bytes": 1e9,
                "figures": {"decode, 1 stream tok/s": rate, "start s": 1.0}}

    def test_a_table_has_medians_ratios_and_floors(self):
        runs = [self.run_of("inferd", 0, 8.0), self.run_of("peer", 0, 4.0),
                self.run_of("peer", 1, 5.0), self.run_of("inferd", 1, 9.0),
                {**self.run_of("peer", 2, 0), "figures": {}, "failed": "it\nbroke"}]
        text = record_peers.markdown(runs, {"date": "2000-01-01"}, ["inferd", "peer"])
        self.assertIn("| decode, 1 stream | tok/s | 8.5 (8–9) | 85 (80–90) % | 4.5 (4–5) | 45 (40–50) % "
                      "| 1.9 (1.8–2) |", text)
        self.assertIn("1 (1–1), less is better", text)
        self.assertIn("s f decode peer 2: broke", text)

    def test_a_cut_off_line_is_left_out(self):
        with tempfile.TemporaryDirectory() as root:
            path = pathlib.Path(root) / "runs.jsonl"
            self.assertEqual(record_peers.load_runs(path), [])
            path.write_text('{"a": 1}\n{"a": ')
            self.assertEqual(record_peers.load_runs(path), [{"a": 1}])

    def test_streams_of_figures(self):
        self.assertEqual(record_peers.streams_of("decode, 16 streams tok/s"), 16)
        self.assertEqual(record_peers.streams_of("decode, 1 stream tok/s"), 1)
        self.assertEqual(record_peers.streams_of("prefill 128 tok/s"), 0)

    def test_servers_are_asked_only_of_those_that_have_one(self):
        self.assertLessEqual(cases.NEEDS_SERVER, set(cases.CASES))


if __name__ == "__main__":
    unittest.main()
