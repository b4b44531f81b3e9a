# SPDX-License-Identifier: MIT OR Apache-2.0
"""The matrix's snapshot rows: the subject `tasks`, built each way, run, and read by `asyncmem snapshot`.

The subject prints its own truth and stands still. A row is

full      when each task has the kind, status, reason and name that the subject says and no task is missing
          or too many; when the await tree of every suspended task is the one that the source has beside the
          function, line by line; when each runtime's own count, the number found and the subject's are one;
          and when what each task holds is exact and, of the tasks that count their blocks, equal;
degraded  when the build has no layouts: the answer says what is missing and why, tasks by status are still
          equal (without layouts a task that was never polled is `queued`, as its state word says), no name
          is wrong (the subject's numbers differ from name to name), and no await tree is made up;
unknown   of a tokio that nobody knows, without layouts: nothing is told that is wrong.

Where the compiler merged the code of two futures, a task may be called by the other's name if
`future_also` has its own, and lack a tree if that is told.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "tests", "snapshot"))
import reorder_tokio  # noqa: E402
from expected_trees import expected, shown  # noqa: E402
from subjects import Subject  # noqa: E402

SUBJECT = os.path.join(HERE, "subjects", "tasks")
NEWEST = "newest"
LOCKS = ["1.24", "1.29", "1.35", "1.40", "1.47", NEWEST]
TELLS_ITS_TASKS = ["1.40", "1.47", NEWEST]
BECAUSE = {"unread": r"^its JoinHandle is kept", "pinned": r"wakers? or abort handles? keeps? the cell"}
NO_LAYOUTS = "names only: no await trees, owned counts, sizes"
QUICK = ["default", "tokio-1.24", "debug-0"]
# Rows of the first part that are no other build for a running program, or cannot run here.
LEFT_OUT = ["default", "aarch64"]


class Wrong(Exception):
    """What is wrong with an answer, in one line."""


def rows(base):
    """The rows, made of those of the first part where there is one: the same build of another subject."""
    def row(name, **given):
        made = dict(base[name], crate="tasks", lock=NEWEST, sizes=None, same=None, judge="known",
                    needs=["snapshot-" + need for need in base[name]["needs"]])
        return dict(made, **given)

    made = {"default": row("default")}
    for lock in LOCKS[:-1]:
        made["tokio-" + lock] = row("default", lock=lock, about="tokio %s" % lock)
    for name in base:
        if name not in LEFT_OUT:
            made[name] = row(name)
    made["default"]["about"] += ", newest tokio"
    made["rustc-1.63"]["lock"] = "1.24"
    made["merged"] = row("default", about="lto = \"fat\", panic = \"abort\", codegen-units = 1: equal code is merged",
                         profile={"lto": "fat", "panic": "abort", "codegen_units": "1"})
    made["folded"] = row("lld", about="panic = \"abort\", equal code folded by lld (--icf=all)",
                         profile={"panic": "abort"}, final=base["lld"]["final"] + " -Clink-arg=-Wl,--icf=all")
    for order in reorder_tokio.ORDERS:
        about = "tokio with %s" % reorder_tokio.ORDERS[order].about
        made["reordered-" + order] = row("default", lock="reordered-" + order, about=about)
        made["reordered-%s-debug-0" % order] = row(
            "debug-0", lock="reordered-" + order, about=about + ", debug = 0", judge="unknown",
            missing="unknown tasks: the answer says that this tokio may have another order")
    for name, spec in made.items():
        spec["quick"] = name in QUICK
        spec["needs"] = [need for need in spec["needs"] if need != "snapshot-" + name and spec["post"]]
        if spec["detail"] == "names" and spec["judge"] == "known":
            spec["missing"] = NO_LAYOUTS
    return {"snapshot-" + name: spec for name, spec in made.items()}


# ------------------------------------------------------------------------------------------------
# Building
# ------------------------------------------------------------------------------------------------
def package(folder, spec):
    """The subject with the lock file of the row, as a package of its own below the build folder."""
    lock = spec["lock"]
    made = os.path.join(folder, "packages", "tasks-" + lock)
    os.makedirs(made, exist_ok=True)
    source = os.path.join(made, "src")
    if not os.path.islink(source):
        os.symlink(os.path.join(SUBJECT, "src"), source)
    if lock.startswith("reordered-"):
        reorder_tokio.write_package(SUBJECT, made, lock[len("reordered-"):])
        return made
    shutil.copy2(os.path.join(SUBJECT, "Cargo.toml"), made)
    own = os.path.join(SUBJECT, "locks", "tokio-%s.lock" % lock)
    shutil.copy2(os.path.join(SUBJECT, "Cargo.lock") if lock == NEWEST else own,
                 os.path.join(made, "Cargo.lock"))
    return made


def cargo_options(spec):
    tells = spec["lock"] in TELLS_ITS_TASKS or spec["lock"].startswith("reordered-")
    return ["--features", "metrics"] if tells else []


# ------------------------------------------------------------------------------------------------
# Judging
# ------------------------------------------------------------------------------------------------
def ask(asyncmem, binary, options):
    """(truth, answer) of a run of the subject; Wrong when either is missing or the subject ends badly."""
    with Subject(binary) as subject:
        try:
            truth = subject.truth()
        except (EOFError, TimeoutError, ValueError) as problem:
            raise Wrong("the subject printed no truth: %s" % problem)
        argv = [asyncmem, "snapshot", "--json", "--no-cache", *options, str(subject.pid)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Wrong("exit code %d: %s" % (done.returncode, done.stderr.strip()[-300:]))
        with open(binary + ".snapshot.json", "w") as out:
            out.write(done.stdout)
        if subject.finish() != 0:
            raise Wrong("the subject ended badly after the snapshot: %d" % subject.process.returncode)
    return truth, json.loads(done.stdout)


def plain(name):
    """A name as a build without layouts has it, without the closures that async bodies are."""
    return re.sub(r"(::\{closure(#\d+)?\})+$", "", re.sub(r"<.*>", "", name or "")) or None


def because(task):
    found = [word for word, text in BECAUSE.items() if re.search(text, task["finished_because"] or "")]
    return found[0] if found else task["finished_because"]


def differences(found, expected_rows):
    """The first few that are not equal, in one line; None when all are."""
    keys = [key for key in sorted(set(found) | set(expected_rows), key=str) if found[key] != expected_rows[key]]
    if not keys:
        return None
    return "; ".join("%d of %s, expected %d" % (found[key], " ".join(map(str, filter(None, key))),
                                                expected_rows[key]) for key in keys[:4])


def settle_names(tasks, names):
    """Name of each task by its id: its own, or where it has others beside it, the one that is still lacking."""
    lacking = collections.Counter(names)
    chosen = {}
    for task in sorted(tasks, key=lambda task: len(task["future_also"])):
        options = [task["future"]] + task["future_also"]
        fitting = [name for name in options if lacking[name] > 0] or options
        chosen[task["id"]] = fitting[0]
        lacking[fitting[0]] -= 1
    return chosen


def check_all_equal(truth, document):
    """Kinds, states, reasons and names of all tasks."""
    names = collections.Counter()
    wanted = collections.Counter()
    for kind, status, reason, future, count in truth["tasks"]:
        wanted[kind, status, reason, future if kind == "async" else None] += count
        names[future] += count
    chosen = settle_names([task for task in document["tasks"] if task["kind"] == "async"], names)
    found = collections.Counter((task["kind"], task["status"], because(task), chosen.get(task["id"]))
                                for task in document["tasks"] if task["kind"] != "root")
    odd = differences(found, wanted)
    if odd:
        raise Wrong(odd)


def check_trees(document, crate):
    """How many trees of suspended tasks were compared, and how many cannot be known: that is told."""
    trees = expected(pathlib.Path(SUBJECT) / "src")
    compared = unknown = 0
    for task in document["tasks"]:
        if task["kind"] != "async" or task["status"] != "suspended":
            continue
        if task["future_also"] and not task["await_tree"] and task["await_tree_reason"]:
            unknown += 1
            continue
        found = [str(place) for place in shown(task, crate)]
        wanted = {name: [str(place) for place in trees[name]]
                  for name in [task["future"]] + task["future_also"] if name in trees}
        if found not in wanted.values():
            raise Wrong("the tree of %s is [%s], %s" % (
                task["future"], ", ".join(map(str.strip, found)), task["await_tree_reason"]))
        compared += 1
    return "%d equal" % compared + (", %d told to be unknown" % unknown if unknown else "")


def check_held(truth, document):
    """What every task holds is exact, also without layouts; and where the names are known, it is the truth."""
    if not document["heap"]:
        raise Wrong("no account of the heap: %s" % "; ".join(document["notes"]))
    tasks = [task for task in document["tasks"] if task["kind"] != "root" and task["status"] != "running"]
    odd = [task for task in tasks if task["held_is"] != "exact"]
    if odd:
        raise Wrong("what task %d holds is %s: %s" % (odd[0]["id"], odd[0]["held_is"], odd[0]["held_reason"]))
    own = [task["held_bytes"] for task in tasks if plain(task["future"]) == "tasks::holds"]
    if len(own) == dict((row[3], row[4]) for row in truth["tasks"])["tasks::holds"]:
        if sum(own) != truth["held_bytes"]:
            raise Wrong("its tasks hold %d, the subject says %d" % (sum(own), truth["held_bytes"]))
        return "equal"
    return "exact"


def check_owned(truth, document):
    pairs = [(runtime["owned_tasks"], runtime["found_tasks"]) for runtime in document["runtimes"]]
    found = sorted(pair for pair in pairs if pair != (0, 0))
    if found != [(count, count) for count in truth["owned"]]:
        raise Wrong("owned and found %s, the subject says %s" % (found, truth["owned"]))
    return len(found)


def check_head(document, spec):
    if document["detail"] != spec["detail"]:
        raise Wrong("detail %s (%s), expected %s" % (document["detail"], document["detail_reason"],
                                                     spec["detail"]))
    reason = document["detail_reason"] or ""
    if spec["reason"] == "" and reason:
        raise Wrong("detail_reason %r, expected none" % reason)
    if spec["reason"] and not re.search(spec["reason"], reason):
        raise Wrong("detail_reason %r names no remedy" % reason)


def check_nothing_invented(truth, document):
    """No name more often than the subject has it in that status, no tree, no count that is not the subject's;
    how many tasks have their name."""
    wanted = collections.Counter()
    for kind, status, _, future, count in truth["tasks"]:
        if kind == "async":
            wanted[plain(future), status.replace("never_polled", "queued")] += count
    found = collections.Counter()
    for task in document["tasks"]:
        name = plain(task["future"])
        if task["kind"] == "root":
            continue
        if not task["future_reason"]:
            raise Wrong("task %d has no layout and no reason for that" % task["id"])
        if task["await_tree"]:
            raise Wrong("task %d has an await tree" % task["id"])
        if task["kind"] == "async" and name:
            found[name, task["status"]] += 1
    for key, count in found.items():
        if count > wanted[key]:
            raise Wrong("%d of %s, there are %d" % (count, " ".join(key), wanted[key]))
    for runtime in document["runtimes"]:
        if runtime["owned_tasks"] is None and not runtime["owned_tasks_reason"]:
            raise Wrong("a runtime has no owned count and no reason for that")
    return sum(found.values())


def count_statuses(truth):
    """As a build without layouts tells them."""
    wanted = collections.Counter()
    for _, status, reason, _, count in truth["tasks"]:
        wanted[status.replace("never_polled", "queued"), reason] += count
    return wanted


def found_statuses(document):
    return collections.Counter((task["status"], because(task)) for task in document["tasks"]
                               if task["kind"] != "root")


def check_statuses(truth, document):
    odd = differences(found_statuses(document), count_statuses(truth))
    if odd:
        raise Wrong(odd)
    counts = sorted(runtime["found_tasks"] for runtime in document["runtimes"])
    lacking = collections.Counter(counts) - collections.Counter(truth["owned"])
    if lacking:
        raise Wrong("runtimes with %s tasks, the subject says %s" % (counts, truth["owned"]))


def judge_unknown(truth, document):
    """Tasks of a tokio in an order that nobody knows: all found rightly, or said to be unknown."""
    named = check_nothing_invented(truth, document)
    wanted = count_statuses(truth)
    found = found_statuses(document)
    if found - wanted:
        raise Wrong(differences(found - wanted, collections.Counter()))
    if found != wanted and not any("another order" in note for note in document["notes"]):
        raise Wrong("%d of %d tasks, and no word that others are unknown"
                    % (sum(found.values()), sum(wanted.values())))
    return named


def judge(asyncmem, binary, options, spec):
    """Figures of a row that passes; Wrong for every other."""
    truth, document = ask(asyncmem, binary, options)
    total = sum(row[-1] for row in truth["tasks"])
    check_head(document, spec)
    figures = {"detail": document["detail"], "note": spec["missing"], "tasks": total, "trees": "-", "owned": "-"}
    if spec["detail"] == "full":
        check_all_equal(truth, document)
        figures["trees"] = check_trees(document, "tasks-" + spec["lock"])
        figures["owned"] = "%d equal" % check_owned(truth, document)
        figures["named"] = "all"
        merged = sum(bool(task["future_also"]) for task in document["tasks"])
        if merged:
            figures["named"] += ", %d as one of several" % merged
    elif spec["judge"] == "unknown":
        figures["named"] = str(judge_unknown(truth, document))
        figures["tasks"] = "%d of %d" % (len(document["tasks"]), total)
    else:
        figures["named"] = str(check_nothing_invented(truth, document))
        check_statuses(truth, document)
    figures["held"] = "-" if spec["judge"] == "unknown" else check_held(truth, document)
    figures["line"] = "%s tasks, names %s, trees %s, runtimes %s, held bytes %s" % (
        figures["tasks"], figures["named"], figures["trees"], figures["owned"], figures["held"])
    return figures


def markdown(results):
    """The second table of docs/MATRIX.md."""
    lines = [
        "## Snapshots of running programs",
        "",
        "The subject tests/matrix/subjects/tasks runs and `asyncmem snapshot` reads it: tasks on three kinds of",
        "runtime, suspended, running, never polled and finished, blocking ones and workers.",
        "",
        "*full*: every task has the kind, status, reason and name that the subject says, none is missing or too",
        "many; every await tree is the source's, line by line; each runtime's own count is the number found.",
        "*degraded*: what is missing is told; tasks by status are equal, no name is wrong. *names* counts the",
        "spawned futures whose name is known. *held bytes*: what each task holds is exact; equal where the subject's",
        "own count can be compared by name.",
        "",
        "| row | build | result | tasks | names | await trees | runtimes | held bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, status, about, figures, line in results:
        if figures is None:
            lines.append("| %s | %s | **FAIL**: %s | | | | | |" % (name, about, line.replace("|", "/")))
            continue
        result = status if status == "full" else "degraded (no %s)" % figures["note"]
        if status != "full" and ":" in figures["note"]:
            result = "degraded (%s)" % figures["note"]
        lines.append("| %s | %s | %s | %s | %s | %s | %s | %s |" % (
            name, about, result, figures["tasks"], figures["named"], figures["trees"], figures["owned"], figures["held"]))
    return lines
