#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What asyncmem does with files that are not what they should be: one clear line and exit 3, never a crash.

ASYNCMEM names the program. The small programs of tests/fuzz/corpus/program stand in for real ones; names are
made hostile by patching their .debug_str.
"""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ASYNCMEM = pathlib.Path(os.environ.get("ASYNCMEM", ROOT / "build" / "asyncmem"))
PROGRAM = ROOT / "tests" / "fuzz" / "corpus" / "program" / "dwarf5-v0.elf"
COMMANDS = ["types", "plan"]
NOBODY = 65534
SANITIZER = re.compile(rb"AddressSanitizer|LeakSanitizer|runtime error:")


def section(data, name):
    """Offset and size of a section of a 64-bit little-endian ELF file."""
    table, = struct.unpack_from("<Q", data, 40)
    count, names = struct.unpack_from("<HH", data, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
    for header in headers:
        start = headers[names][4] + header[0]
        if data[start:data.index(b"\0", start)] == name.encode():
            return header[4], header[5]
    raise ValueError(f"no section {name}")


def replace_section(data, name, content):
    """The file with a section's content put behind its end, and the section header turned to it."""
    table, = struct.unpack_from("<Q", data, 40)
    count, names = struct.unpack_from("<HH", data, 60)
    names_at, = struct.unpack_from("<Q", data, table + 64 * names + 24)
    for i in range(count):
        header = table + 64 * i
        start = names_at + struct.unpack_from("<I", data, header)[0]
        if data[start:data.index(b"\0", start)] == name.encode():
            changed = bytearray(data)
            struct.pack_into("<QQ", changed, header + 24, len(data), len(content))
            return bytes(changed) + content
    raise ValueError(f"no section {name}")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="asyncmem-bad-input-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.environment = dict(os.environ, ASYNCMEM_CACHE_DIR=str(self.folder / "cache"))
        for name in ["NO_COLOR", "COLUMNS"]:
            self.environment.pop(name, None)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o755)
        return path

    def run_it(self, *arguments, **options):
        options = {"env": self.environment, "timeout": 60, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        done = subprocess.run([str(ASYNCMEM), *map(str, arguments)], **options)
        self.assertIsNone(SANITIZER.search(done.stderr or b""), done.stderr)
        return done

    def expect_refusal(self, path, words, command="types", **options):
        done = self.run_it(command, path, **options)
        text = done.stderr.decode()
        self.assertEqual(done.returncode, 3, f"{command} {path}: {text}")
        self.assertEqual(done.stdout, b"", f"{command} {path}")
        self.assertRegex(text, r"\Aasyncmem: [^\n]+\n\Z", f"{command} {path}: one line")
        self.assertIn(words, text)
        self.assertIn(pathlib.Path(path).name, text)
        return text

    def expect_answer(self, *arguments, **options):
        done = self.run_it(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, b"")
        return done.stdout


class NotPrograms(Case):
    def table(self):
        program = PROGRAM.read_bytes()
        narrow, big, relocatable, header = (bytearray(program) for _ in range(4))
        narrow[4] = 1
        big[5] = 2
        struct.pack_into("<H", relocatable, 16, 1)
        struct.pack_into("<Q", header, 40, len(program) + 1)
        (self.folder / "folder").mkdir()
        os.mkfifo(self.folder / "fifo")
        return [
            (self.write("text.txt", b"int main(void) { return 0; }\n"), "not an ELF file"),
            (self.write("three", b"\x7fEL"), "not an ELF file"),
            (self.write("script.sh", b"#!/bin/sh\n"), "not an ELF file"),
            (self.write("archive.a", b"!<arch>\n" + b" " * 60), "not an ELF file"),
            (self.write("magic", b"\x7fELF"), "truncated"),
            (self.write("zeros", bytes(4096)), "not an ELF file"),
            (self.write("empty", b""), "empty"),
            (self.write("narrow", narrow), "32-bit"),
            (self.write("big", big), "big-endian"),
            (self.write("object.o", relocatable), "object file"),
            (self.write("header", header), "section header table"),
            (self.folder / "folder", "directory"),
            (self.folder / "absent", "No such file"),
            (self.folder / "text.txt" / "below", "Not a directory"),
            (self.folder / "fifo", "not a regular file"),
            (pathlib.Path("/dev/null"), "not a regular file"),
        ]

    def test_one_line_and_exit_3(self):
        for path, words in self.table():
            for command in COMMANDS:
                with self.subTest(path=path.name, command=command):
                    self.expect_refusal(path, words, command)

    def test_json_is_refused_alike(self):
        done = self.run_it("types", "--json", self.write("text.txt", b"nothing"))
        self.assertEqual((done.returncode, done.stdout), (3, b""))

    def test_loops_of_links(self):
        link = self.folder / "loop"
        link.symlink_to(link)
        self.expect_refusal(link, "symbolic links")

    def test_unreadable(self):
        path = self.write("secret", PROGRAM.read_bytes())
        path.chmod(0)
        options = {}
        if os.geteuid() == 0:  # root reads everything: be somebody else
            options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            program = self.folder / "asyncmem"  # theirs to run, wherever the build is
            shutil.copy(ASYNCMEM, program)
            program.chmod(0o755)
            done = subprocess.run([str(program), "types", str(path)], env=self.environment, timeout=60,
                                  capture_output=True, **options)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertEqual(done.stdout, b"")
            self.assertRegex(done.stderr.decode(), r"\Aasyncmem: [^\n]*secret: Permission denied[^\n]*\n\Z")
        else:
            self.expect_refusal(path, "Permission denied")

    def test_cut_at_every_256_bytes(self):
        whole = PROGRAM.read_bytes()
        for size in range(256, len(whole), 256):
            with self.subTest(size=size):
                self.expect_refusal(self.write("cut", whole[:size]), "truncated")

    def test_cut_by_the_last_byte(self):
        whole = PROGRAM.read_bytes()
        for size in [1, 16, 63, 64, 65, len(whole) - 64, len(whole) - 1]:
            with self.subTest(size=size):
                done = self.run_it("types", self.write("cut", whole[:size]))
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_undamaged_is_read(self):
        answer = json.loads(self.expect_answer("types", "--json", PROGRAM))
        self.assertEqual(answer["detail"], "full")
        self.assertEqual(answer["totals"]["count"], 6)


class WithoutFutures(Case):
    def test_c_program(self):
        source = self.write("plain.c", b"int main(void) { return 0; }\n")
        program = self.folder / "plain"
        for options in [["-g"], [], ["-s"]]:
            with self.subTest(options=options):
                subprocess.run(["cc", *options, "-o", program, source], check=True, timeout=60)
                answer = json.loads(self.expect_answer("types", "--json", program))
                self.assertEqual(answer["futures"], [])
                self.assertEqual(answer["totals"]["count"], 0)
                self.assertNotEqual(answer["detail"], "full")
                self.assertTrue(answer["detail_reason"])
                self.assertIn(b"no layouts", self.expect_answer("types", program))


class HostileNames(Case):
    """Names in .debug_str that would move the cursor, turn the text around or fill the screen."""

    def patched(self, old, new):
        data = PROGRAM.read_bytes()
        self.assertEqual(len(old), len(new))
        at, size = section(data, ".debug_str")
        strings = data[at:at + size]
        self.assertTrue(old in strings, old)
        strings = strings.replace(old, new)
        return self.write("patched", data[:at] + strings + data[at + size:])

    def outputs(self, program):
        for arguments in [["types"], ["types", "--all"], ["types", "--all", "--full-names"], ["plan"]]:
            yield self.expect_answer(*arguments, "--no-cache", program)

    def json_outputs(self, program):
        for command in COMMANDS:
            yield json.loads(self.expect_answer(command, "--json", "--no-cache", program).decode("utf-8"))

    def test_escapes_are_shown_not_sent(self):
        for hostile in [b"\x1b[31mX", b"\x1b]0;a\x07", b"\xc2\x9b31mb", b"a\nb\rc\t", b"\xe2\x80\xaeabc",
                        b"\xff\xfe\x80abc"]:
            with self.subTest(hostile=hostile):
                program = self.patched(b"\0middle\0", b"\0" + hostile + b"\0")
                for output in self.outputs(program):
                    text = output.decode("utf-8")  # valid
                    self.assertIsNone(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text))
                list(self.json_outputs(program))

    def test_slot_names(self):
        program = self.patched(b"\0answer\0", b"\0\x1b[31m!\0")
        self.assertIn(rb"\x1b[31m!", self.expect_answer("types", "--all", program))
        for output in self.outputs(program):
            self.assertNotIn(b"\x1b", output)

    def test_scheduler_of_a_task(self):
        program = self.patched(b", tokio::CurrentThread>", b", tokio::\x1bc\nrentThread>")
        output = self.expect_answer("plan", "--no-cache", program)
        self.assertIn(rb"tokio::\x1bc\x0arentThread", output)
        self.assertNotIn(b"\x1b", output)

    def test_ten_kilobytes(self):
        data = PROGRAM.read_bytes()
        at, size = section(data, ".debug_str")
        strings = data[at:at + size]
        # Strings cannot grow in place: point the name's uses at a long one behind the others.  With
        # .debug_str_offsets (DWARF 5) that is one word a name.
        old = strings.index(b"\0middle\0") + 1
        long_name = b"m" * 10240
        table_at, table_size = section(data, ".debug_str_offsets")
        table = bytearray(data[table_at:table_at + table_size])
        places = [i for i in range(8, table_size, 4) if struct.unpack_from("<I", table, i)[0] == old]
        self.assertTrue(places)
        for place in places:
            struct.pack_into("<I", table, place, size)
        data = data[:table_at] + bytes(table) + data[table_at + table_size:]
        program = self.write("long", replace_section(data, ".debug_str", strings + long_name + b"\0"))
        for output in self.outputs(program):
            for line in output.decode().splitlines():
                self.assertLessEqual(len(line), 120)
        names = [future["name"] for future in json.loads(self.expect_answer("types", "--json", program))["futures"]]
        self.assertTrue(any(long_name.decode() in name for name in names))  # JSON has it whole

    def test_unended_strings(self):
        data = PROGRAM.read_bytes()
        at, size = section(data, ".debug_str")
        for content in [b"x" * size, b"", b"x"]:
            with self.subTest(size=len(content)):
                program = self.write("unended", replace_section(data, ".debug_str", content))
                self.assertEqual(self.run_it("types", "--no-cache", program).returncode, 0)


class Usage(Case):
    def expect_usage(self, *arguments):
        done = self.run_it(*arguments)
        self.assertEqual(done.returncode, 2, arguments)
        self.assertEqual(done.stdout, b"", arguments)
        self.assertTrue(done.stderr.strip(), arguments)
        return done.stderr.decode()

    def test_wrong_arguments(self):
        for arguments in [["frobnicate"], [""], ["--frobnicate"]]:
            with self.subTest(arguments=arguments):
                self.assertRegex(self.expect_usage(*arguments), r"\A[^\n]+\n\Z")
        self.assertIn("Usage", self.expect_usage())
        for command in COMMANDS:
            for arguments in [[], ["a", "b"], ["--frobnicate", "a"], ["--color", "blue", "a"], ["--symbols"],
                              ["--json=yes", "a"]]:
                with self.subTest(command=command, arguments=arguments):
                    self.expect_usage(command, *arguments)
        for arguments in [["--min-bytes", "many"], ["--min-bytes", "-1"], ["--min-bytes", "99999999999999999999"],
                          ["--min-bytes", ""], ["--top", "0"], ["--top", "x"], ["--sort", "colour"], ["--top"]]:
            with self.subTest(arguments=arguments):
                self.expect_usage("types", *arguments, PROGRAM)

    def test_arguments_cannot_write_to_the_terminal(self):
        for arguments in [["\x1b[2J"], ["types", "--sort", "\x1b[2J\n", "a"], ["types", "/no/such/\x1b[2J\nfile"],
                          ["types", "--color", "\x1b", "a"]]:
            with self.subTest(arguments=arguments):
                done = self.run_it(*arguments)
                self.assertNotIn(b"\x1b", done.stderr)
                self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_help(self):
        for arguments in [["--help"], ["-h"], ["help"], ["--version"], *[[c, "--help"] for c in COMMANDS],
                          *[[c, "-h"] for c in COMMANDS]]:
            with self.subTest(arguments=arguments):
                self.assertTrue(self.expect_answer(*arguments).strip())
        for command in COMMANDS:
            text = self.expect_answer(command, "--help").decode()
            self.assertIn("Usage: asyncmem " + command, text)
            self.assertTrue(all(len(line) <= 100 for line in text.splitlines()))

    def test_option_values_at_the_edge(self):
        for arguments in [["--min-bytes", "1G"], ["--min-bytes", "18446744073709551615"], ["--top", "1000000000"],
                          ["--match", ""], ["--match", "no such future"]]:
            with self.subTest(arguments=arguments):
                self.expect_answer("types", PROGRAM, *arguments)
                json.loads(self.expect_answer("types", PROGRAM, "--json", *arguments))


class Output(Case):
    def test_closed_pipe_is_quiet(self):
        for arguments in ["types --all", "types --json", "plan", "types --help"]:
            with self.subTest(arguments=arguments):
                done = subprocess.run(["sh", "-c", f'"$0" {arguments} --no-cache "$1" | head -c 1', str(ASYNCMEM),
                                       str(PROGRAM)], env=self.environment, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 0)
                self.assertEqual(done.stderr, b"")

    def test_full_disk_is_told(self):
        for arguments in [["types", PROGRAM], ["types", "--json", PROGRAM], ["types", "--all", PROGRAM],
                          ["plan", PROGRAM], ["plan", "--json", PROGRAM], ["types", "--help"], ["--help"],
                          ["--version"]]:
            with self.subTest(arguments=arguments), open("/dev/full", "wb") as full:
                done = self.run_it(*arguments, stdout=full)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr.decode(), r"\Aasyncmem: [^\n]*could not be written[^\n]*\n\Z")

    def test_closed_stdout_is_told(self):
        done = subprocess.run(["sh", "-c", '"$0" types "$1" >&-', str(ASYNCMEM), str(PROGRAM)],
                              env=self.environment, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_colour(self):
        self.assertNotIn(b"\x1b", self.expect_answer("types", PROGRAM))
        self.assertIn(b"\x1b[1m", self.expect_answer("types", "--color", "always", PROGRAM))
        self.assertNotIn(b"\x1b", self.on_terminal({"NO_COLOR": "1", "TERM": "xterm"}))
        self.assertNotIn(b"\x1b", self.on_terminal({"TERM": "dumb"}))
        self.assertIn(b"\x1b[1m", self.on_terminal({"TERM": "xterm"}))
        self.assertIn(b"\x1b[1m", self.on_terminal({"TERM": "xterm", "NO_COLOR": ""}))

    def on_terminal(self, variables):
        """What `types` writes to a terminal."""
        try:
            master, slave = os.openpty()
        except OSError:
            self.skipTest("no pseudo terminals here")
        done = self.run_it("types", PROGRAM, stdout=slave, env=self.environment | variables)
        self.assertEqual(done.returncode, 0)
        os.close(slave)
        output = b""
        try:
            while part := os.read(master, 65536):
                output += part
        except OSError:  # the other end is closed
            pass
        os.close(master)
        self.assertTrue(output)
        return output

    def test_width_follows_columns(self):
        for columns, most in [("80", 80), ("100", 100), ("1000", 120), ("1", 80)]:
            text = self.expect_answer("types", "--all", PROGRAM, env=self.environment | {"COLUMNS": columns}).decode()
            longest = max(text.splitlines(), key=len)
            self.assertLessEqual(len(longest), most, longest)


class Cache(Case):
    """A cache that is damaged, not ours or open to others changes no answer and says nothing."""

    def plans(self):
        return sorted((self.folder / "cache").glob("*.plan"))

    def cached(self, program=PROGRAM):
        return json.loads(self.expect_answer("plan", "--json", program))["cached"]

    def test_used_and_stale(self):
        program = self.write("program", PROGRAM.read_bytes())
        self.assertEqual([self.cached(program), self.cached(program)], [False, True])
        os.utime(program, (1, 1))
        self.assertEqual([self.cached(program), self.cached(program)], [False, True])
        program.unlink()
        program.write_bytes(PROGRAM.read_bytes())
        self.assertFalse(self.cached(program))
        self.assertEqual(len(self.plans()), 1)

    def test_damaged_file_is_replaced(self):
        answer = self.expect_answer("types", PROGRAM)
        plan = self.plans()[0]
        whole = plan.read_bytes()
        for name, content in [("empty", b""), ("cut", whole[:100]), ("half", whole[:len(whole) // 2]),
                              ("text", b"no plan"), ("flipped", whole[:-1] + bytes([whole[-1] ^ 1])),
                              ("version", whole[:8] + b"\xff" + whole[9:]), ("zeros", bytes(len(whole))),
                              ("longer", whole + b"x"), ("key", whole[:32] + bytes(16) + whole[48:])]:
            with self.subTest(name=name):
                plan.write_bytes(content)
                self.assertEqual(self.expect_answer("types", PROGRAM), answer)
                self.assertEqual(plan.read_bytes(), whole)

    def test_folder_open_to_others_is_not_used(self):
        cache = self.folder / "cache"
        cache.mkdir()
        for mode in [0o777, 0o770, 0o707, 0o1777]:
            with self.subTest(mode=oct(mode)):
                cache.chmod(mode)
                self.assertEqual([self.cached(), self.cached()], [False, False])
                self.assertEqual(self.plans(), [])
        cache.chmod(0o755)
        self.assertEqual([self.cached(), self.cached()], [False, True])

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a folder away")
    def test_folder_of_another_owner_is_not_used(self):
        cache = self.folder / "cache"
        cache.mkdir(mode=0o700)
        os.chown(cache, NOBODY, NOBODY)
        self.assertEqual([self.cached(), self.cached()], [False, False])
        self.assertEqual(self.plans(), [])

    def test_link_is_not_followed(self):
        (self.folder / "elsewhere").mkdir(mode=0o700)
        (self.folder / "cache").symlink_to(self.folder / "elsewhere")
        self.assertEqual([self.cached(), self.cached()], [False, False])
        self.assertEqual(list((self.folder / "elsewhere").iterdir()), [])

    def test_folder_that_cannot_be_made(self):
        (self.folder / "cache").write_bytes(b"a file")
        self.assertEqual([self.cached(), self.cached()], [False, False])

    def test_made_for_the_owner_alone(self):
        self.cached()
        self.assertEqual((self.folder / "cache").stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.plans()[0].stat().st_mode & 0o777, 0o600)

    def test_no_cache_option(self):
        self.expect_answer("types", "--no-cache", PROGRAM)
        self.assertFalse((self.folder / "cache").exists())

    def test_damaged_program_leaves_no_plan(self):
        self.run_it("types", self.write("cut", PROGRAM.read_bytes()[:5000]))
        self.assertEqual(self.plans(), [])


if __name__ == "__main__":
    unittest.main()
