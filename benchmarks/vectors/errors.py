"""Error texts as agents meet them: made up, all different, none the copy of another with a number changed.

Messages of many tools, their names, paths, types and values drawn independently from vocabularies of the size that a
few code bases have, with a stack, a command or a hint around some of them. Popular tools fail most, so there are dense
neighbourhoods and lonely texts, as in real logs: no tidy clusters in which any index finds everything.
"""

import random
from collections.abc import Callable


def _words(text: str) -> list[str]:
    return text.split()


_VERBS = _words(
    "load save parse render build merge fetch apply check create delete update resolve validate commit sync encode "
    "decode convert collect schedule retry flush open close read write send receive authorize sign verify normalize "
    "index embed rank sample split join filter reduce publish subscribe migrate restore archive export import quote"
)
_NOUNS = _words(
    "config user session token invoice cart order payment schema report index cache queue worker event message file "
    "bundle chunk manifest ledger price region tenant policy role quota batch cursor snapshot replica shard model "
    "prompt trace span metric dataset sample outcome scenario widget layout theme asset route handler request response "
    "header cookie payload branch commit patch release artifact image volume secret certificate domain record mailbox "
    "calendar contact ticket comment thread vote badge profile avatar address shipment warehouse coupon refund discount"
)
_ENDINGS = _words("service manager client store helper adapter factory reader writer parser builder view test spec job")
_FOLDERS = _words(
    "src lib app packages core internal services api web backend frontend modules common shared tools scripts tests "
    "integration unit cmd pkg server ui components hooks domain infra deploy crates"
)
_PACKAGES = _words(
    "numpy pandas requests fastapi pydantic django flask celery redis sqlalchemy boto3 torch react next vite eslint "
    "lodash express prisma webpack typescript tokio serde axum clap hyper gin cobra viper grpc protobuf kafka spring"
)
_TYPES = _words(
    "str int float bool bytes None dict list tuple Decimal datetime UUID Path string number undefined null boolean "
    "Promise Array Buffer usize i64 Option Result Vec HashMap Arc String error context.Context time.Time"
)
_HOSTS = _words("db.internal cache api.example.com localhost queue.svc auth.example.org registry storage metrics mail")
_TOOLS = _words("Bash Read Edit Write Grep Glob WebFetch apply_patch shell browser search_flights book_room run_sql")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Texts:
    """A source of error texts; the same seed gives the same texts."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._weights = [1 / (place + 1) ** 0.7 for place in range(len(_MESSAGES))]

    def distinct(self, count: int) -> list[str]:
        """``count`` different texts."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.one()] = None
        return list(found)

    def one(self) -> str:
        """A text."""
        message = self._fill(self._random.choices(_MESSAGES, self._weights)[0])
        around = self._random.random()
        if around < 0.25:
            return f"{self._stack()}\n{message}"
        if around < 0.40:
            return f"Exit code {self._random.choice((1, 2, 101, 127, 137))}\n{message}"
        if around < 0.55:
            return f"{message}\n{self._fill(self._random.choice(_HINTS))}"
        return message

    def _fill(self, template: str) -> str:
        parts = template.split("$")
        return parts[0] + "".join(self._slot(part[0]) + part[1:] for part in parts[1:])

    def _slot(self, kind: str) -> str:
        return _SLOTS[kind](self)

    def _stack(self) -> str:
        frames = range(self._random.randint(1, 6))
        return "\n".join(self._fill('  File "$p", line $n, in $f\n    $v = $f($v, $s)') for _ in frames)

    def _pick(self, words: list[str]) -> str:
        return words[int(len(words) * self._random.random() ** 1.6)]

    def _name(self) -> str:
        return "_".join((self._pick(_VERBS), *(self._pick(_NOUNS) for _ in range(self._random.randint(1, 2)))))

    def _class(self) -> str:
        return f"{self._pick(_NOUNS).title()}{self._pick(_NOUNS).title()}{self._pick(_ENDINGS).title()}"

    def _path(self) -> str:
        folders = "/".join(self._pick(_FOLDERS) for _ in range(self._random.randint(1, 4)))
        ending = self._random.choice(("py", "py", "ts", "tsx", "js", "rs", "go", "java", "sql", "yaml", "json"))
        return f"{folders}/{self._pick(_NOUNS)}_{self._pick(_ENDINGS)}.{ending}"

    def _string(self) -> str:
        return "'" + "".join(self._random.choices(_LETTERS, k=self._random.randint(3, 9))) + "'"


_SLOTS: dict[str, Callable[[Texts], str]] = {
    "f": Texts._name,
    "c": Texts._class,
    "p": Texts._path,
    "s": Texts._string,
    "v": lambda texts: texts._pick(_NOUNS),
    "t": lambda texts: texts._pick(_TYPES),
    "k": lambda texts: texts._pick(_PACKAGES),
    "h": lambda texts: texts._pick(_HOSTS),
    "o": lambda texts: texts._pick(_TOOLS),
    "n": lambda texts: str(int(10 ** (4 * texts._random.random()))),
}

_MESSAGES = (
    "AttributeError: '$c' object has no attribute '$f'",
    "FAILED $p::test_$f - AssertionError: assert $n == $n",
    "KeyError: '$v_$v'",
    "TypeError: $f() got an unexpected keyword argument '$v'",
    "String to replace not found in file.\nString: def $f($v, $v):",
    "File has not been read yet. Read $p before writing to it.",
    "ModuleNotFoundError: No module named '$k.$v'",
    "$p:$n:$n - error TS2345: Argument of type '$t' is not assignable to parameter of type '$c'.",
    "error[E0308]: mismatched types\n --> $p:$n:$n\nexpected `$t`, found `$t` in `$f`",
    "TypeError: Cannot read properties of undefined (reading '$f')",
    "ImportError: cannot import name '$c' from '$v.$v' ($p)",
    "bash: $k: command not found",
    "fatal: pathspec '$p' did not match any files",
    'psycopg.errors.UndefinedColumn: column "$v_$v" of relation "$vs" does not exist',
    "CONFLICT (content): Merge conflict in $p",
    "ValueError: invalid literal for int() with base 10: $s while reading $v",
    "ENOENT: no such file or directory, open '$p'",
    "Command timed out after $n s: $k $f --$v",
    "connect ECONNREFUSED $h:$n while trying to $f",
    "ruff: $p:$n:$n F401 `$k.$v` imported but unused",
    "pydantic.ValidationError: $n validation errors for $c\n$v.$v\n  Input should be a valid $t",
    "HTTP 429 from $h: rate limit of $n tokens per minute reached for $v",
    "error[E0502]: cannot borrow `$v` as mutable because it is also borrowed as immutable in $f at $p:$n",
    "undefined: $f\n$p:$n:$n: cannot use $v (variable of type $t) as $t value in argument to $f",
    "RuntimeError: CUDA out of memory. Tried to allocate $n MiB in $f",
    "sqlite3.OperationalError: no such table: $v_$v",
    "npm ERR! peer $k@$n from $k-$v conflicts with the root project",
    "Permission denied: '$p'",
    "AssertionError: expected $v to be $s, received $s in $c",
    "The tool $o was called without its required parameter `$v`",
    'duplicate key value violates unique constraint "$v_$v_key": Key ($v)=($s) already exists',
    "json.decoder.JSONDecodeError: Expecting ',' delimiter: line $n column $n in $p",
    'java.lang.NullPointerException: Cannot invoke "$c.$f()" because "$v" is null',
    "panic: runtime error: index out of range [$n] with length $n in $f",
    "ssl.SSLCertVerificationError: certificate verify failed: hostname mismatch for $h ($f)",
    "$o failed: no $v matches $s between $v and $v",
    "docker: Error response from daemon: manifest for $k:$v not found",
    "UnicodeDecodeError: 'utf-8' codec can't decode byte in position $n of $p",
    'terraform: Error: Reference to undeclared resource "$k_$v" "$f" on $p line $n',
    "The user does not have permission to $f the $v of $v $s",
    "The model answered with text where a call of $o was due, after $n steps on the $v task",
    "Error: Hook $f is missing a dependency: '$v'. Either include it or remove the array. $p:$n",
    "kubectl: pod $v-$v is in CrashLoopBackOff: back-off restarting container $k",
    "deadlock detected: process $n waits for ShareLock on relation $vs while running $f",
    "MemoryError: $f needs $n GiB for $v of $v",
    "grpc: code = Unavailable desc = upstream $h reset the stream during $c.$f",
    "YAML: mapping values are not allowed here in $p, line $n, column $n, near $v",
    "The reservation of $v $s was refused: the $v is not eligible for a $v",
    "ld: symbol(s) not found for architecture: _$f referenced from $c in $v.o",
    "Budget of $n tokens spent before the $v was $v; last call was $o($v=$s)",
)

_HINTS = (
    "Did you mean '$f'?",
    "hint: run $k $f first, then look at $p",
    "note: required by a bound in `$c::$f`",
    "Caused by: $c could not $f the $v",
    "The above exception was the direct cause of: $c failed in $f",
    "See $p:$n for where $v was set to $s",
)
