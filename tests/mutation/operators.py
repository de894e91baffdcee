"""Single changes of a source text: what a mutant is, whichever room it belongs to.

Not mutated are docstrings, messages, ``strict=`` of zip (lengths agree by construction), ``frozen=`` of dataclasses (no
one assigns), what only type checkers run, and the constants that bound size and precision of the verifier (resource
limits have tests of their own, in test_verifier.py).
"""

from __future__ import annotations

import ast
import copy
import re

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.MatMult: ast.Mult,
}  # fmt: skip


def mutants(source):
    """(line, description, how) for every single mutation; ``mutated`` makes its text."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
    }
    spared = docstrings | {id(inner) for node in ast.walk(tree) if is_spared(node) for inner in ast.walk(node)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in spared:
            continue
        for what in changes(node):
            target = copy.deepcopy(node)
            change(target, what)
            before, after = ast.unparse(node), ast.unparse(target)
            if before != after:
                yield getattr(node, "lineno", 0), f"{before[:70]}  ->  {after[:70]}", (place, what)


def mutated(source, how):
    """The text with one mutation."""
    tree = ast.parse(source)
    place, what = how
    change(list(ast.walk(tree))[place], what)
    return ast.unparse(tree)


def is_spared(node):
    """Whether nothing inside is worth a mutant."""
    limit = isinstance(node, ast.Assign) and re.match(
        "MAX_|WORK$|FIRST_PRECISION$", ast.unparse(node.targets[0]).strip("(")
    )
    keyword = isinstance(node, ast.keyword) and node.arg in ("strict", "frozen")
    typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.JoinedStr) or limit or keyword or typing


def changes(node):
    if isinstance(node, ast.Compare):
        return [("compare", i) for i, op in enumerate(node.ops) if type(op) in COMPARISONS] + [("negate",)]
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        return [("operator",)]
    if isinstance(node, ast.BoolOp):
        return [("bool",)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [("drop",)]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return [("constant", 1), ("constant", -1)]
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return [("flip",)]
    if isinstance(node, (ast.If, ast.IfExp)):
        return [("always",), ("never",)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max", "any", "all"):
        return [("function",)]
    if isinstance(node, ast.Raise):
        return [("pass",)]
    return []


def change(node, what):
    """Apply one change in place."""
    kind = what[0]
    if kind == "compare":
        node.ops[what[1]] = COMPARISONS[type(node.ops[what[1]])]()
    elif kind == "negate":
        become(node, ast.UnaryOp(ast.Not(), copy.copy(node)))
    elif kind == "operator":
        node.op = OPERATORS[type(node.op)]()
    elif kind == "bool":
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif kind == "drop":
        become(node, node.operand)
    elif kind == "constant":
        node.value = node.value + what[1]
    elif kind == "flip":
        node.value = not node.value
    elif kind in ("always", "never"):
        node.test = ast.Constant(kind == "always")
    elif kind == "function":
        node.func.id = {"min": "max", "max": "min", "any": "all", "all": "any"}[node.func.id]
    elif kind == "pass":
        become(node, ast.Pass())


def become(node, other):
    fields = dict(ast.iter_fields(other))
    node.__class__ = other.__class__
    node.__dict__.clear()
    node.__dict__.update(fields)
