# SPDX-License-Identifier: Apache-2.0
"""gdb: `source script/gdb/fibers.py`, then `fibers` lists all fibers of a live process or a core with their calls.

Fibers that are not running have no thread that gdb could show. Their saved frame pointer is on their stack where context_swap left it
(src/rt/context.c); everything is compiled with frame pointers, so the chain can be followed without touching registers.
"""
import gdb

STATES = ("running or ready", "waiting", "waiting, shielded", "woken", "woken by timeout", "woken by cancellation")
SAVED = {"i386:x86-64": (48, 56), "aarch64": (80, 88)}  # offsets of frame pointer and return address behind the saved stack pointer


def read(address):
    return int(gdb.parse_and_eval("*(unsigned long *)%d" % address))


def symbol(pc):
    block = gdb.find_pc_line(pc - 1)
    where = " at %s:%d" % (block.symtab.filename, block.line) if block.symtab else ""
    name = gdb.execute("info symbol %d" % pc, to_string=True).split(" in section")[0].strip()
    return name + where


def calls(fiber):
    fp_at, pc_at = SAVED[gdb.selected_frame().architecture().name()]
    sp = int(fiber["ctx"]["sp"])
    low, high = int(fiber["stack"]), int(fiber["stack"]) + 1024 * 1024
    fp, pc = read(sp + fp_at), read(sp + pc_at)
    for _ in range(64):
        yield symbol(pc)
        if not low <= fp < high:
            return
        fp, pc = read(fp), read(fp + 8)
        if pc == 0:
            return


def each(head, type_name, member):
    kind = gdb.lookup_type("struct " + type_name)
    offset = [f for f in kind.fields() if f.name == member][0].bitpos // 8
    node = head["next"]
    while node != head.address:
        yield (node.cast(gdb.lookup_type("char").pointer()) - offset).cast(kind.pointer()).dereference()
        node = node["next"]


class Fibers(gdb.Command):
    """fibers [NAME]: every fiber (whose name begins with NAME), what it does, and who called that."""

    def __init__(self):
        super().__init__("fibers", gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        runtime = gdb.parse_and_eval("rt_global")
        for i in range(int(runtime["n"])):
            shard = runtime["shards"][i].dereference()
            for f in each(shard["fibers"], "rt_fiber", "all"):
                name = f["name"].string()
                if not name.startswith(arg):
                    continue
                wait = int(f["wait"])
                print("shard %d  %-20s %s%s  (struct rt_fiber *)%#x" % (i, name, STATES[wait & 7], ", canceled" if int(f["canceled"]) else "", int(f.address)))
                if int(f["stack"]) and int(shard["current"]) != int(f.address):
                    for c in calls(f):
                        print("      " + c)


Fibers()
