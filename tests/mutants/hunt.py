#!/usr/bin/env python3
"""Tries mutants of the program against its tests.

    hunt.py WORK build [KIND...] copies the repository to WORK/tree, writes all mutants into the copy, leaves
                                 out those that do not compile, and builds the tests (lib, sim, it)
    hunt.py WORK reach           runs each unit test alone; notes its time and which mutants it reaches
    hunt.py WORK unit [SECONDS]  tries each mutant that is not caught yet against the unit tests that reach
                                 it and take at most so long (1), quick ones first
    hunt.py WORK lives [N]       tries those that are left against N simulated lives (16)
    hunt.py WORK program [N]     tries those that are left against the N quickest black-box tests that reach them (4)
    hunt.py WORK report [FILE]   counts by file; with FILE, lists its survivors
    hunt.py WORK known DIR       takes all for caught that DIR, written by an earlier run, does not name
    hunt.py WORK names DIR       writes all that are left to DIR, a file for each room, by file and function;
                                 the reasons that stand there already are kept

Each step goes on where it was stopped. Run nothing else beside it: a mutant that makes a test take too
long counts as caught.
"""

import collections
import concurrent.futures
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ROOMS = ["src/queue", "src/core", "src/os", "src/net", "src/edge", "src/check"]
WORKERS = os.cpu_count() or 1
MEMORY_MAX = 6 << 30


class Work:
    def __init__(self, path):
        self.path = Path(path).resolve()
        self.tree = self.path / "tree"
        self.env = dict(os.environ, CARGO_TARGET_DIR=str(self.path / "target"), RUSTFLAGS="--cap-lints allow")

    def mutants(self):
        """Number, file, place, function, what is changed."""
        return [line.split("\t") for line in (self.path / "list").read_text().splitlines()]

    def results(self):
        """By number, what caught it; None where it survived so far."""
        found = {}
        for name in ["unit", "lives", "program"]:
            file = self.path / name
            for line in file.read_text().splitlines() if file.exists() else []:
                number, by = line.split("\t")[:2]
                found[number] = found.get(number) or (None if by == "survived" else by)
        return found

    def survived_unit(self):
        """By number, how long the slowest tests take that were tried on a mutant that survived them."""
        file = self.path / "unit"
        lines = [line.split("\t") for line in file.read_text().splitlines() if "\tsurvived" in line] if file.exists() else []
        found = {}
        for number, _, seconds in lines:
            found[number] = max(found.get(number, 0.0), float(seconds))
        return found

    def binary(self, name):
        return (self.path / name).read_text()


def cargo(work, *args):
    return subprocess.run(["cargo", *args], cwd=work.tree, env=work.env, capture_output=True, text=True)


def write_mutants(work, dropped):
    (work.path / "dropped").write_text("\n".join(map(str, sorted(dropped))))
    shutil.rmtree(work.tree / "src")
    shutil.copytree(ROOT / "src", work.tree / "src")
    made = subprocess.run(
        ["cargo", "run", "--quiet", "--release", "--manifest-path", HERE / "Cargo.toml", "--",
         work.tree, work.path / "list", work.path / "dropped", *ROOMS],
        check=True, capture_output=True, text=True, env=dict(os.environ, CARGO_TARGET_DIR=str(work.path / "writer")))
    print(made.stdout.strip(), flush=True)
    shutil.copy(HERE / "switch.rs", work.tree / "src/mutant.rs")
    lib = work.tree / "src/lib.rs"
    lib.write_text(lib.read_text().replace("pub mod errno;", "pub mod errno;\npub mod mutant;", 1))


def blamed(work, message):
    """The mutants that an error of the compiler is about: the switch last named before each of its places."""
    numbers = set()
    for span in message["spans"]:
        if span["is_primary"]:
            text = (work.tree / span["file_name"]).read_bytes()[: span["byte_end"]]
            found = re.findall(rb"mutant::on\((\d+)\)", text)
            numbers.update(int(number) for number in found[-1:])
    return numbers


def build(work, *kinds):
    work.path.mkdir(parents=True, exist_ok=True)
    if not work.tree.exists():
        shutil.copytree(ROOT, work.tree, ignore=shutil.ignore_patterns("target", ".git"))
    file = work.path / "dropped"
    dropped = set(map(int, file.read_text().split())) if file.exists() else set()
    while True:
        write_mutants(work, dropped)
        done = cargo(work, "check", "--lib", "--message-format=json")
        if done.returncode == 0:
            break
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        errors = [m["message"] for m in messages if m["reason"] == "compiler-message"]
        new = set().union(*(blamed(work, e) for e in errors if e["level"] == "error")) - dropped
        if not new:
            sys.exit(done.stderr)
        dropped |= new
    asked = {"lib": ["--lib"], "sim": ["--test", "sim"], "it": ["--test", "it"]}
    done = cargo(work, "test", "--no-run", *(word for kind in kinds or asked for word in asked[kind]))
    for name, path in re.findall(r"Executable (?:unittests )?(\S+).*\((\S+)\)", done.stderr):
        kind = {"tests/sim/main.rs": "sim", "tests/it/main.rs": "it"}.get(name, "lib")
        (work.path / kind).write_text(str(work.tree / path))
    print(done.stderr[-300:])


def reach(work):
    lib = work.binary("lib")
    listed = subprocess.run([lib, "--list"], cwd=work.tree, capture_output=True, text=True).stdout
    tests = [line[:-6] for line in listed.splitlines() if line.endswith(": test")]

    def one(test):
        file = work.path / ("reach." + test.replace("::", "."))
        begun = time.time()
        done = subprocess.run([lib, "--exact", test], cwd=work.tree, capture_output=True,
                              env=dict(os.environ, S1C_REACH=str(file)))
        took = time.time() - begun
        numbers = sorted(set(file.read_text().split()), key=int) if file.exists() else []
        file.unlink(missing_ok=True)
        return test, {"took": took, "passed": done.returncode == 0, "reached": numbers}

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        found = dict(pool.map(one, tests))
    (work.path / "reach.json").write_text(json.dumps(found))
    reached = set(n for test in found.values() for n in test["reached"])
    print(f"{len(found)} tests reach {len(reached)} mutants")


def bounded():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(work, command, env, limit):
    """The output and whether it passed; no output where it took too long."""
    process = subprocess.Popen(command, cwd=work.tree, env=dict(os.environ, RUST_BACKTRACE="0", **env), text=True,
                               errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=bounded)
    try:
        return process.communicate(timeout=limit)[0], process.returncode == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, False


def each(work, name, todo, attempt, workers=WORKERS):
    """Tries them, some at once; notes what came of each at once."""
    lock, left = threading.Lock(), iter(todo)
    with open(work.path / name, "a") as out:
        def worker():
            while True:
                with lock:
                    mutant = next(left, None)
                if mutant is None:
                    return
                by = attempt(mutant)
                with lock:
                    out.write(f"{mutant[0]}\t{by or 'survived'}\n")
                    out.flush()

        threads = [threading.Thread(target=worker) for _ in range(workers)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]


def unit(work, seconds=1.0):
    tests = json.loads((work.path / "reach.json").read_text())
    by_mutant = collections.defaultdict(list)
    for name, test in tests.items():
        if test["passed"] and test["took"] <= seconds:
            for number in test["reached"]:
                by_mutant[number].append(name)
    lib, done = work.binary("lib"), work.results()
    recent, before = collections.defaultdict(list), work.survived_unit()

    def attempt(mutant):
        number, file, _, function, _ = mutant
        slower = [name for name in by_mutant[number] if tests[name]["took"] > before.get(number, -1.0)]
        quick = sorted(slower, key=lambda name: tests[name]["took"])
        first = [name for name in recent[file + function] + recent[file] if name in slower]
        order, size = list(dict.fromkeys(first[:6] + quick)), 0.15
        while order:
            batch, took = [], 0.0
            while order and (not batch or took + tests[order[0]]["took"] <= size) and len(batch) < 200:
                batch.append(order.pop(0))
                took += tests[batch[-1]]["took"]
            text, passed = run(work, [lib, "--exact", "--test-threads", "1", *batch],
                               {"S1C_MUTANT": number}, 6 * took + 2)
            if text is None:
                return f"too long: {batch[0]}"
            if not passed:
                failed = re.search(r"^test (\S+) \.\.\. FAILED", text, re.M)
                by = failed.group(1) if failed else f"died: {batch[0]}"
                for key in [file + function, file]:
                    recent[key] = [by, *(name for name in recent[key] if name != by)][:8]
                return by
            size *= 4
        return f"survived\t{seconds}"

    todo = [m for m in work.mutants() if by_mutant[m[0]] and not done.get(m[0])]
    each(work, "unit", [m for m in todo if before.get(m[0], -1.0) < seconds], attempt)


def lives(work, count=16):
    sim, done = work.binary("sim"), work.results()
    command = [sim, "every_record", "--nocapture"]
    file = work.path / "reach.lives"
    file.unlink(missing_ok=True)
    run(work, command, {"S1C_REACH": str(file), "S1C_LIVES": "400", "S1C_GO_ON": "1"}, 600)
    reached = set(file.read_text().split())

    def attempt(mutant):
        env = {"S1C_MUTANT": mutant[0], "S1C_LIVES": str(count), "S1C_GO_ON": "1"}
        text, passed = run(work, command, env, 10 * count)
        if text is None:
            return "too long: lives"
        told = re.search(r"lives, (\d+) failed", text)
        return None if passed and told and told.group(1) == "0" else "lives"

    each(work, "lives", [m for m in work.mutants() if m[0] in reached and not done.get(m[0])], attempt)


def program(work, count=4):
    """The black-box tests mostly wait, so more of them than processors run at once."""
    it, done, workers = work.binary("it"), work.results(), 3 * WORKERS
    reached = work.path / "reach.it.json"
    if not reached.exists():
        listed = subprocess.run([it, "--list"], cwd=work.tree, capture_output=True, text=True).stdout

        def one(test):
            file = work.path / ("reach.it." + test.replace("::", "."))
            begun = time.time()
            _, passed = run(work, [it, "--exact", test], {"S1C_RUNNER": f"env S1C_REACH={file}"}, 60)
            numbers = sorted(set(file.read_text().split()), key=int) if file.exists() else []
            file.unlink(missing_ok=True)
            return test, {"took": time.time() - begun, "passed": passed, "reached": numbers}

        tests = [line[:-6] for line in listed.splitlines() if line.endswith(": test")]
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            reached.write_text(json.dumps(dict(pool.map(one, tests))))
    tests = json.loads(reached.read_text())
    by_mutant = collections.defaultdict(list)
    for name, test in tests.items():
        for number in test["reached"] if test["passed"] else []:
            by_mutant[number].append(name)
    recent = collections.defaultdict(list)

    def attempt(mutant):
        number, file, _, function, _ = mutant
        quick = sorted(by_mutant[number], key=lambda name: tests[name]["took"])
        first = [name for name in recent[file + function] + recent[file] if name in quick]
        for name in list(dict.fromkeys(first[:3] + quick[:count])):
            # Twice: a black-box test can fail for want of time alone.
            for _ in range(2):
                text, passed = run(work, [it, "--exact", name], {"S1C_RUNNER": f"env S1C_MUTANT={number}"},
                                   5 * tests[name]["took"] + 20)
                if passed:
                    break
            else:
                for key in [file + function, file]:
                    recent[key] = [name, *(other for other in recent[key] if other != name)][:6]
                return f"too long: {name}" if text is None else name
        return None

    each(work, "program", [m for m in work.mutants() if by_mutant[m[0]] and not done.get(m[0])], attempt, workers)


def report(work, name=None):
    done, mutants = work.results(), work.mutants()
    by_file = collections.Counter(m[1] for m in mutants)
    left = [m for m in mutants if not done.get(m[0])]
    alive = collections.Counter(m[1] for m in left)
    for file in sorted(by_file):
        if name in (None, file):
            print(f"{file}: {alive[file]} of {by_file[file]} survive")
    print(f"{len(left)} of {len(mutants)} survive, {sum(m[0] not in done for m in left)} of them not tried")
    for m in left:
        if name == m[1]:
            print(f"  {m[0]} {m[2]} {m[3]}: {m[4]}")


ROOM = re.compile(r"src/(\w+)")
LINE = re.compile(r"    (?:\[([\w-]+)\] )?(?:not tried: )?(.*)")


def read_names(directory):
    """By room the head of the file; by file, function and change the reasons, one for each time it stands there."""
    heads, reasons = {}, collections.defaultdict(list)
    for path in sorted(Path(directory).glob("*.txt")):
        head, file, function = [], None, None
        for line in path.read_text().splitlines():
            if line.startswith("#") or not line:
                head.append(line)
            elif line.startswith("    "):
                reason, change = LINE.fullmatch(line).groups()
                reasons[file, function, change].append(reason)
            elif line.startswith("  "):
                function = line.strip()
            else:
                file = line
        heads[path.stem] = head
    return heads, reasons


def known(work, directory):
    _, left = read_names(directory)
    with open(work.path / "unit", "a") as out:
        for number, file, _, function, change in work.mutants():
            if (file, function, change[:160]) not in left:
                out.write(f"{number}\tearlier\n")


def names(work, directory):
    """By name and not by line, so that two lists can be compared."""
    heads, reasons = read_names(directory)
    done, rooms = work.results(), collections.defaultdict(list)
    places = collections.defaultdict(lambda: (None, None))
    for number, file, _, function, change in work.mutants():
        if done.get(number):
            continue
        room = ROOM.match(file).group(1)
        if file != places[room][0]:
            rooms[room].append(file)
        if (file, function) != places[room]:
            rooms[room].append(f"  {function}")
        places[room] = (file, function)
        given = reasons[file, function, change[:160]]
        reason = given.pop(0) if given else None
        untried = "" if number in done else "not tried: "
        rooms[room].append(f"    {f'[{reason}] ' if reason else ''}{untried}{change[:160]}")
    for room in {*heads, *rooms}:
        (Path(directory) / f"{room}.txt").write_text("\n".join([*heads.get(room, []), *rooms[room], ""]))


def main():
    steps = {"build": build, "reach": reach, "unit": unit, "lives": lives, "program": program, "report": report, "known": known, "names": names}
    if len(sys.argv) < 3 or sys.argv[2] not in steps:
        sys.exit(__doc__)
    kinds = {"build": str, "unit": float, "lives": int, "program": int, "report": str, "known": str, "names": str}
    more = [kinds[sys.argv[2]](arg) for arg in sys.argv[3:]]
    steps[sys.argv[2]](Work(sys.argv[1]), *more)


main()
