"""Plain English for the demo model: the docstrings of the Python standard library (PSF-2.0) of this machine."""

import ast
import glob
import sysconfig


def Docstrings(min_chars=80):
    """Sorted by file, so that two runs on one machine agree. Returns a list of paragraphs' texts."""
    root = sysconfig.get_paths()["stdlib"]
    out, seen = [], set()
    for path in sorted(glob.glob(root + "/**/*.py", recursive=True)):
        if "/site-packages/" in path or "/dist-packages/" in path or "/test/" in path:
            continue
        try:
            with open(path, encoding="utf-8") as f:
                tree = ast.parse(f.read())
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text and len(text) >= min_chars and text not in seen:
                    seen.add(text)
                    out.append(text)
    return out
