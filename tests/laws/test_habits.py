"""What the code does not do, or only with a reason beside it."""

import ast
import re
from collections.abc import Iterator

from tests.laws.sources import Source, called, sources

LOOPS = (ast.While, ast.For, ast.AsyncFor)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
EVERYTHING = {"Exception", "BaseException"}
READ_THE_ENVIRONMENT = {"gateway.settings", "gateway.cli.access", "gateway.parent"}
"""Who may: the settings, the commands that hand the environment to them, the parent that hands it to its workers."""

DANGEROUS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.fork", "os.execv", "os.execvp"}
DANGEROUS_MODULES = {"pickle", "marshal", "shelve", "subprocess", "dill", "multiprocessing"}
USES_IN_SPITE: dict[str, str] = {}
"""Modules that do one of these all the same, and why."""

WAITS_A_MOMENT = {
    "gateway.images.objects": "the library gives no sign that its threads have let go of the interpreter",
    "gateway.parent": "a worker that dies at once is not started anew at once",
}
"""Modules that sleep outside a loop, and why."""

RUNS_SQL = {"text", "execute", "exec_driver_sql", "scalar", "scalars", "execute_command"}
STATES_NO_VALUES = {"gateway.database.engine": "PRAGMA takes no parameters; the values are constants of the module"}


def both() -> Iterator[Source]:
    """Yield the product and its tests."""
    yield from sources("gateway")
    yield from sources("tests")


def test_an_exception_to_a_rule_has_a_reason() -> None:
    """Each noqa and type-ignore names its rule and says why, on its line."""
    marker = re.compile(r"#\s*(noqa|type:\s*ignore)(?![\w-])(?P<rest>.*)")
    reasoned = re.compile(r"(: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)* -- \S.*|\[[a-z, -]+\]  # \S.*)")
    bare = [
        f"{source.path.name}:{number}: {found[0]}"
        for source in both()
        for number, line in enumerate(source.text.splitlines(), 1)
        if (found := marker.search(line)) and source.name != __name__ and not reasoned.fullmatch(found["rest"])
    ]
    assert bare == []


def test_nothing_is_caught_that_nobody_expects() -> None:
    """`except Exception` has a reason beside it; what catches even cancellation raises it again."""
    swallowed = []
    for source in both():
        lines = source.text.splitlines()
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {ast.unparse(one) for one in _names(node.type)}
            raised_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if node.type is None or (caught & EVERYTHING and not raised_again and " -- " not in lines[node.lineno - 1]):
                swallowed.append(source.at(node))
    assert swallowed == []


def test_nobody_sleeps_but_to_look_again() -> None:
    """A sleep is in a loop that looks whether something has come; tests never wait for a clock."""
    asleep = [
        source.at(node)
        for source in both()
        if not source.name.startswith("tests.bench.") and source.name not in WAITS_A_MOMENT
        for node, around in source.nested()
        if isinstance(node, ast.Call)
        and called(node) in {"time.sleep", "asyncio.sleep", "sleep"}
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
        and not _in_loop(around)
    ]
    assert asleep == []


def test_the_loop_is_never_put_to_sleep() -> None:
    """The product waits with asyncio alone."""
    asleep = [
        source.at(node)
        for source in sources("gateway")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and called(node) == "time.sleep"
    ]
    assert asleep == []


def test_the_environment_is_read_in_one_place() -> None:
    """Whoever wants a setting is handed it."""
    readers = {
        source.name
        for source in sources("gateway")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in {"os.environ", "os.getenv", "environb", "os.putenv", "getenv"}
    }
    assert readers <= READ_THE_ENVIRONMENT


def test_sql_is_never_put_together_from_strings() -> None:
    """What is run as SQL or as a command is a constant or an expression of SQLAlchemy's, never a formatted string."""
    glued = [
        source.at(node)
        for source in sources("gateway")
        if source.name not in STATES_NO_VALUES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and called(node).rpartition(".")[2] in RUNS_SQL and node.args
        if isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
        or (isinstance(node.args[0], ast.Call) and called(node.args[0]).endswith(".format"))
    ]
    assert glued == []


def test_nothing_that_runs_what_it_is_given() -> None:
    """No eval, no pickle, no shell."""
    dangerous = []
    for source in sources("gateway"):
        for node in ast.walk(source.tree):
            names: set[str] = set()
            if isinstance(node, ast.Call):
                names = {called(node)} & DANGEROUS
            elif isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names} & DANGEROUS_MODULES
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]} & DANGEROUS_MODULES
            if names and source.name not in USES_IN_SPITE:
                dangerous.append(f"{source.at(node)}: {', '.join(names)}")
    assert dangerous == []


def test_nothing_is_printed() -> None:
    """What a command prints goes through its console, what a server says through its log."""
    printed = [
        source.at(node)
        for source in sources("gateway")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and called(node) == "print"
    ]
    assert printed == []


def _names(caught: ast.expr | None) -> list[ast.expr]:
    if caught is None:
        return []
    return caught.elts if isinstance(caught, ast.Tuple) else [caught]


def _in_loop(around: tuple[ast.AST, ...]) -> bool:
    for node in reversed(around):
        if isinstance(node, LOOPS):
            return True
        if isinstance(node, FUNCTIONS):
            return False
    return False
