#!/usr/bin/env python3
"""The layering check finds seeded violations, and finds none in this tree."""

import pathlib
import tempfile
import unittest

import layering

TABLE = {"base": set(), "plan": {"base"}, "server": {"base", "proto"}, "backends": {"base", "kernels"},
         "kernels": set(), "proto": set(), "app": None}


class Seeded(unittest.TestCase):
    def problems(self, files):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            return layering.check(root, TABLE)[0]

    def assert_one(self, files, part):
        problems = self.problems(files)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(part, problems[0])

    def test_a_clean_tree(self):
        self.assertEqual(self.problems({
            "include/inferd/base/ids.h": "#pragma once\n#include <vector>\n",
            "src/plan/plan.cc": '#include "inferd/base/ids.h"\n',
            "src/server/server.cc": '#include "inferd/v1/chat.pb.h"\n#include "grpcpp/grpcpp.h"\n',
            "src/backends/gpu/ops.cc": '#include "gpu/k.h"\n#include <cuda_runtime.h>\n',
            "kernels/gpu/k.h": "// cuda\n",
            "src/app/main.cc": '#include "inferd/base/ids.h"\n'}), [])

    def test_an_edge_that_is_not_allowed(self):
        self.assert_one({"include/inferd/plan/p.h": "",
                         "src/base/b.cc": '#include "inferd/plan/p.h"\n'},
                        "src/base/b.cc:1: base must not include plan")

    def test_a_private_header_of_another_room(self):
        self.assert_one({"src/plan/p.h": "", "src/server/s.cc": '\n  #  include "plan/p.h"\n'},
                        "src/server/s.cc:2: server must not include plan")

    def test_generated_code_belongs_to_proto(self):
        self.assert_one({"src/plan/p.cc": '#include "inferd/v1/chat.pb.h"\n'},
                        "plan must not include proto")

    def test_a_cycle_of_rooms(self):
        problems = self.problems({"src/plan/p.h": '#include "base/b.h"\n',
                                  "src/base/b.h": '#include "plan/q.h"\n', "src/plan/q.h": ""})
        self.assertTrue(any("cycle of rooms: base -> plan -> base" in p for p in problems), problems)

    def test_a_cycle_of_headers_in_one_room(self):
        self.assert_one({"src/base/a.h": '#include "base/b.h"\n', "src/base/b.h": '#include "a.h"\n'},
                        "cycle of files: src/base/a.h -> src/base/b.h -> src/base/a.h")

    def test_an_include_that_leads_nowhere(self):
        self.assert_one({"src/base/a.cc": '#include "inferd/base/none.h"\n'}, "does not exist")

    def test_a_header_made_by_cmake(self):
        files = {"src/app/version.h.in": "", "src/app/a.cc": '#include "app/version.h"\n'}
        self.assertEqual(self.problems(files), [])
        files["src/server/s.cc"] = '#include "app/version.h"\n'
        self.assert_one(files, "server must not include app")

    def test_nobody_may_include_app(self):
        self.assert_one({"src/app/a.h": "", "src/server/s.cc": '#include "app/a.h"\n'},
                        "server must not include app")

    def test_device_names(self):
        self.assert_one({"src/plan/p.cc": "int x;  // the CUDA stream\n"}, "names a device")
        self.assertEqual(self.problems({"src/plan/p.cc": "int barracuda, chip, hip;  // ascending\n"}), [])

    def test_regex(self):
        self.assert_one({"tests/plan/t.cc": "std::regex r;\n"}, "std::regex")
        self.assert_one({"src/plan/t.cc": "#include <regex>\n"}, "std::regex")

    def test_libraries_have_owners(self):
        self.assert_one({"src/plan/p.cc": '#include "grpcpp/grpcpp.h"\n'}, "must not use grpcpp")
        self.assert_one({"src/app/p.cc": "#include <yaml-cpp/yaml.h>\n"}, "must not use yaml-cpp")

    def test_a_room_that_is_not_in_the_table(self):
        self.assert_one({"src/attic/p.cc": ""}, "room attic is not in the table")

    def test_commented_includes_do_not_count(self):
        self.assertEqual(self.problems({
            "src/plan/p.h": "", "src/base/b.cc": '/*\n#include "plan/p.h"\n*/\n// #include "plan/p.h"\n'}), [])

    def test_the_documented_table_is_compared(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            (root / "docs").mkdir()
            (root / "docs" / "architecture.md").write_text("| base | x | std |\n| plan | x | base, kv |\n")
            problems = layering.compare_with_document(root, {"base": set(), "plan": set(), "kv": set()})
        self.assertEqual(problems, ["docs/architecture.md: room plan differs from rooms.txt",
                                    "docs/architecture.md: room kv is missing"])


class ThisTree(unittest.TestCase):
    def test_holds(self):
        root = layering.HERE.parent.parent
        table = layering.read_table(layering.HERE / "rooms.txt")
        problems, files = layering.check(root, table)
        self.assertGreater(files, 20)
        self.assertEqual(problems + layering.compare_with_document(root, table), [])


if __name__ == "__main__":
    unittest.main()
