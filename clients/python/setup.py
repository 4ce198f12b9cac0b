"""The messages and stubs are generated while the package is built: `inferd.v1`, beside
`inferd_client`. The proto files are those of this repository, or in INFERD_PROTO_DIR."""

import os
import pathlib

from setuptools import setup
from setuptools.command.build_py import build_py

PROTOS = pathlib.Path(os.environ.get("INFERD_PROTO_DIR", pathlib.Path(__file__).resolve().parents[2] / "proto"))
FILES = ["inferd/v1/common.proto", "inferd/v1/chat.proto", "inferd/v1/services.proto"]


class BuildWithStubs(build_py):
    def run(self):
        super().run()
        import grpc_tools
        from grpc_tools import protoc
        include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        target = self.build_lib
        code = protoc.main(["protoc", f"-I{PROTOS}", f"-I{include}", f"--python_out={target}",
                            f"--pyi_out={target}", f"--grpc_python_out={target}", *FILES])
        if code != 0:
            raise SystemExit("protoc failed")
        for package in ("inferd", "inferd/v1"):
            (pathlib.Path(target) / package / "__init__.py").touch()


setup(cmdclass={"build_py": BuildWithStubs})
