# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares what a snapshot says that tasks hold with what their ends freed (tests/programs/ledger).

A program prints its cases and stays; after a line it ends its tasks one by one and says for each what that
freed. `judge` gives one line for each difference, with all that helps to find it.
"""

import collections
import json

LEAST_PART = 0.8  # of the truth, that a lower bound must reach


def ends(subject, cases):
    """Lets the program end its tasks; what each case freed, by the position of the case."""
    subject.process.stdin.write(b"\n")
    subject.process.stdin.flush()
    rows = []
    for case in cases:
        row = json.loads(subject.line())
        assert row["name"] == case["name"], (row, case["name"])
        rows.append(row["ends"])
    assert json.loads(subject.line()) == {"done": True}
    return rows


Judged = collections.namedtuple("Judged", "problems exact_bytes all_bytes exact_tasks tasks")


def by_runtime_id(document):
    return {task["runtime_task_id"]: task for task in document["tasks"]}


def is_exact(task):
    return task["held_is"] == "exact"


def shared_by(document, tasks):
    """The rows of `shared` that just these tasks own."""
    ids = sorted(task["id"] for task in tasks)
    return [row for row in document["shared"] if sorted(row["tasks"]) == ids]


def compare(what, truth, held, exact):
    """The problem with a figure, or None; all are bytes."""
    if held > truth:
        return f"{what}: {held} is above the truth {truth} ({'exact' if exact else 'at least'})"
    if exact and held != truth:
        return f"{what}: exact {held}, but the truth is {truth}"
    if held < LEAST_PART * truth:
        return f"{what}: the bound {held} is below {LEAST_PART} of the truth {truth}"
    return None


def described(case, freed, tasks):
    """What is known of a case, for the reader of a difference."""
    held = [(task["held_bytes"], task["held_is"], task.get("held_reason")) for task in tasks]
    return (f"freed {[(end['bytes'], end['blocks'], end['sizes'][:8]) for end in freed]}, cells {case['cells']}, "
            f"held {held}, shared {[task['shared_bytes'] for task in tasks]}, "
            f"maybe {[task['maybe_held_bytes'] for task in tasks]}")


def expected_ends(case, tasks, document):
    """(what, truth's part, held, is it exact) for each end of a case."""
    if case["together"]:
        shared = sum(row["bytes"] for row in shared_by(document, tasks))
        yield "all", sum(case["cells"]), sum(task["held_bytes"] for task in tasks) + shared, all(map(is_exact, tasks))
        return
    for number, task in enumerate(tasks):
        is_last = number == len(tasks) - 1 and len(tasks) > 1
        # What all share goes with the last; an amount that the program knows is compared of its own.
        shared = sum(row["bytes"] for row in shared_by(document, tasks)) if is_last else 0
        yield f"task {task['runtime_task_id']}", case["cells"][number], task["held_bytes"] + shared, is_exact(task)


def judge_case(case, freed, by_id, document):
    missing = [number for number in case["ids"] if number not in by_id]
    if missing:
        return [f"{case['name']}: no task {missing}"]
    tasks = [by_id[number] for number in case["ids"]]
    unknown = [task["runtime_task_id"] for task in tasks if task["held_bytes"] is None]
    if unknown:
        return [f"{case['name']}: nothing is said of what {unknown} hold"]
    problems = []
    for task in tasks:
        if case["status"] != task["status"]:
            problems.append(f"status {task['status']}, not {case['status']}")
    for end, (what, cell, held, exact) in zip(freed, expected_ends(case, tasks, document)):
        problems.append(compare(what, end["bytes"] - cell, held, exact))
    if len(tasks) > 1 and not case["together"] and case["shared"]:
        shared = sum(row["bytes"] for row in shared_by(document, tasks))
        if shared != case["shared"] and not (shared < case["shared"] and any(not is_exact(task) for task in tasks)):
            problems.append(f"shared {shared}, not {case['shared']}")
    problems = [problem for problem in problems if problem]
    return [f"{case['name']}: {'; '.join(problems)}  [{described(case, freed, tasks)}]"] if problems else []


def judge(document, cases, freed):
    """All differences, and how much of what is held is exact."""
    by_id = by_runtime_id(document)
    problems, exact_bytes, all_bytes, exact_tasks, nr_tasks = [], 0, 0, 0, 0
    for case, ended in zip(cases, freed):
        problems += judge_case(case, ended, by_id, document)
        for number in case["ids"]:
            task = by_id.get(number)
            if task and task["held_bytes"] is not None:
                nr_tasks += 1
                all_bytes += task["held_bytes"]
                exact_tasks += is_exact(task)
                exact_bytes += task["held_bytes"] if is_exact(task) else 0
    return Judged(problems, exact_bytes, all_bytes, exact_tasks, nr_tasks)


# --- variables -----------------------------------------------------------------------------------


def own_frames(task, crate):
    return [frame for frame in task["await_tree"] if (frame["future"] or "").startswith(crate + "::")]


def frame_of(task, say, crate):
    """The frame that a variable is said to be in: the task's own, or one below it by its name."""
    frames = own_frames(task, crate)
    if not say["frame"]:
        return frames[0] if frames else None
    named = [frame for frame in frames[1:] if say["frame"] in frame["future"]]
    return named[0] if len(named) == 1 else None


def judge_gone(slots):
    for slot in slots:
        if slot["status"] != "gone" or slot["heap_bytes"]:
            return f"is {slot['status']} with {slot['heap_bytes']}, not gone"
    return None  # nothing of it in debug info: as gone as can be


def together(slots):
    """Variables that own something together: it counts for one of them."""
    return {"status": "live", "heap_bytes": sum(slot["heap_bytes"] or 0 for slot in slots),
            "heap_is": "exact" if all(slot["heap_is"] == "exact" for slot in slots) else "at_least",
            "requested_bytes": None}


def judge_live(say, slots, task):
    if len(slots) != say["slot"].count("+") + 1:
        return f"stands {len(slots)} times in its frame"
    slot = slots[0] if len(slots) == 1 else together(slots)
    # A bound is for the task as a whole: where it ended early nothing is known of what comes after.
    if not is_exact(task):
        return compare("heap_bytes", say["bytes"], slot["heap_bytes"] or 0, False) if slot["heap_bytes"] else None
    if slot["status"] != "live" and say["bytes"]:
        return f"is {slot['status']}, not live"
    if slot["heap_bytes"] != say["bytes"]:
        return f"has {slot['heap_bytes']} ({slot['heap_is']}), not {say['bytes']}"
    if slot["heap_is"] != "exact":
        return f"is {slot['heap_is']} in a task that is exact"
    if say["bytes"] and slot["requested_bytes"] not in (None, say["requested"]):
        return f"requested {slot['requested_bytes']}, not {say['requested']}"
    return None


def judge_hidden(say, frame, task):
    """Variables of one name: what DWARF has a place for and what it hides, together."""
    hidden = frame["hidden"]["heap_bytes"] if frame["hidden"] else 0
    total = sum(slot["heap_bytes"] or 0 for slot in frame["slots"]) + hidden
    if is_exact(task) and total != say["bytes"]:
        return f"frame has {total}, not {say['bytes']}"
    return None if hidden or not is_exact(task) else "nothing is shown as hidden"


def judge_say(say, task, crate):
    frame = frame_of(task, say, crate)
    if frame is None:
        return "is in no frame of that name"
    if say["status"] == "hidden":
        return judge_hidden(say, frame, task)
    slots = [slot for slot in frame["slots"] if slot["name"] in say["slot"].split("+")]
    return judge_gone(slots) if say["status"] == "gone" else judge_live(say, slots, task)


def judge_variables(document, cases, crate):
    """A line for each variable that is not as its task said."""
    by_id, problems = by_runtime_id(document), []
    for case in cases:
        task = by_id.get(case["ids"][0])
        if task is None or task["held_bytes"] is None:
            continue
        for say in case["says"]:
            problem = judge_say(say, task, crate)
            if problem:
                frames = [(frame["future"], [(slot["name"], slot["status"], slot["heap_bytes"]) for slot in frame["slots"]])
                          for frame in own_frames(task, crate)]
                problems.append(f"{case['name']}: {say['frame']}.{say['slot']} {problem}  [{frames}]")
    return problems
