#!/usr/bin/env python3
"""Writes and reads packages of apk version 3, which OpenWrt takes since 25.12.

Made from the format's public description: apk-v3(5), apk-package(5), and "Into Alpine APK v3
format: the binary perspective". Standard library, and zopfli for the file that is written. The same
tree gives the same bytes.

    apk.py write --root DIR --info name:value ... --script kind:FILE ... OUT
    apk.py read FILE          prints what is in it, as JSON, having checked every hash
    apk.py extract FILE DIR   unpacks its files
    apk.py test               writes a package, reads it back, and compares with a known hash

The file is `ADBd` and one raw deflate stream of `ADB.`, a schema word, and blocks on 8-byte
boundaries: one with all metadata, then one for the content of each file. Metadata is a tree of
32-bit words: four bits of type, 28 bits of value or of the place where the value stands.
"""

import argparse
import hashlib
import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
import zlib

SCHEMA_PACKAGE = 0x676B6370  # "pckg"
BLOCK_ADB, BLOCK_SIG, BLOCK_DATA = 0, 1, 2
INT, INT32, INT64 = 0x10000000, 0x20000000, 0x30000000
BLOB8, BLOB16, BLOB32 = 0x80000000, 0x90000000, 0xA0000000
OBJECT = 0xE0000000
TYPE_MASK, VALUE_MASK = 0xF0000000, 0x0FFFFFFF

# Slots, numbered from 1; slot 0 of every object is how many slots it has.
PACKAGE = ["info", "paths", "scripts", "triggers", "replaces-priority"]
INFO = [
    "name", "version", "hashes", "description", "arch", "license", "origin", "maintainer", "url",
    "repo-commit", "build-time", "installed-size", "file-size", "provider-priority", "depends",
]
DEPENDENCY = ["name", "version", "match"]
DIRECTORY = ["name", "acl", "files"]
FILE = ["name", "acl", "size", "mtime", "hashes", "target"]
ACL = ["mode", "user", "group"]
SCRIPTS = [
    "trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade",
    "post-upgrade",
]
# The package's own hash: the first 20 bytes of a SHA-256 of the metadata with zeros in its place.
IDENTITY_BYTES = 20


class Metadata:
    """The first block's content, grown from the leaves up. Equal values are stored once."""

    def __init__(self):
        self.bytes = bytearray(8)
        self.seen = {}

    def put(self, content, align):
        place = self.seen.get((content, align))
        if place is None:
            self.bytes += bytes(-len(self.bytes) % align)
            place = len(self.bytes)
            self.bytes += content
            self.seen[content, align] = place
        return place

    def blob(self, content):
        if isinstance(content, str):
            content = content.encode()
        if len(content) < 1 << 8:
            return BLOB8 | self.put(struct.pack("<B", len(content)) + content, 1)
        if len(content) < 1 << 16:
            return BLOB16 | self.put(struct.pack("<H", len(content)) + content, 2)
        return BLOB32 | self.put(struct.pack("<I", len(content)) + content, 4)

    def integer(self, number):
        if number <= VALUE_MASK:
            return INT | number
        if number < 1 << 32:
            return INT32 | self.put(struct.pack("<I", number), 4)
        return INT64 | self.put(struct.pack("<Q", number), 8)

    def slots(self, words):
        while words and words[-1] == 0:
            words.pop()
        return OBJECT | self.put(struct.pack(f"<{len(words) + 1}I", len(words) + 1, *words), 4)

    def record(self, names, values):
        return self.slots([values.get(name, 0) for name in names])

    def finish(self, root):
        self.bytes[:8] = struct.pack("<BBHI", 0, 0, 0, root)
        return self.bytes


def block(kind, content):
    size = 4 + len(content)
    if size >= 1 << 30:
        sys.exit("apk.py: a file of 1 GiB or more is not for this writer")
    return struct.pack("<I", kind << 30 | size) + content + bytes(-size % 8)


def tree(root):
    """Every directory below the root, itself included, with its files; all in order."""
    found = []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        name = os.path.relpath(folder, root)
        name = "" if name == "." else name
        found.append((name.encode(), folder, sorted(n.encode() for n in names + links)))
    return sorted(found)


def packed(body):
    """The file: any inflater reads it, and it is 3 % smaller than by zlib at 9."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = ["zopfli", "--deflate", "--i5", "-c", file.name]
        return b"ADBd" + subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def write(root, info, scripts, depends, epoch):
    meta = Metadata()

    def acl(mode):
        values = {"mode": meta.integer(mode), "user": meta.blob("root"), "group": meta.blob("root")}
        return meta.record(ACL, values)

    directories, data, installed = [], [], 0
    for path_index, (name, folder, names) in enumerate(tree(root), 1):
        files = []
        for file_index, file_name in enumerate(names, 1):
            path = os.path.join(folder, file_name.decode())
            mode = os.lstat(path).st_mode
            values = {"name": meta.blob(file_name), "mtime": meta.integer(epoch)}
            if stat.S_ISLNK(mode):
                target = os.readlink(path).encode()
                values |= {
                    "acl": acl(0o777),
                    "size": meta.integer(len(target)),
                    "target": meta.blob(struct.pack("<H", stat.S_IFLNK) + target),
                }
            else:
                with open(path, "rb") as file:
                    content = file.read()
                installed += len(content)
                values |= {
                    "acl": acl(stat.S_IMODE(mode)),
                    "size": meta.integer(len(content)),
                    "hashes": meta.blob(hashlib.sha256(content).digest()),
                }
                if content:
                    head = struct.pack("<II", path_index, file_index)
                    data.append(block(BLOCK_DATA, head + content))
            files.append(meta.record(FILE, values))
        values = {"name": meta.blob(name), "acl": acl(stat.S_IMODE(os.stat(folder).st_mode))}
        if files:
            values["files"] = meta.slots(files)
        directories.append(meta.record(DIRECTORY, values))

    values = {name: meta.blob(text) for name, text in info.items()}
    # On its own, for it is filled in at the end.
    identity = len(meta.bytes) + 1
    values["hashes"] = BLOB8 | len(meta.bytes)
    meta.bytes += struct.pack("<B", IDENTITY_BYTES) + bytes(IDENTITY_BYTES)
    values["installed-size"] = meta.integer(installed)
    names = [meta.record(DEPENDENCY, {"name": meta.blob(name)}) for name in sorted(depends)]
    if names:
        values["depends"] = meta.slots(names)
    package = {"info": meta.record(INFO, values), "paths": meta.slots(directories)}
    if scripts:
        kinds = {kind: meta.blob(content) for kind, content in scripts.items()}
        package["scripts"] = meta.record(SCRIPTS, kinds)
    content = meta.finish(meta.record(PACKAGE, package))
    content[identity:identity + IDENTITY_BYTES] = hashlib.sha256(content).digest()[:IDENTITY_BYTES]

    head = b"ADB." + struct.pack("<I", SCHEMA_PACKAGE)
    return packed(head + block(BLOCK_ADB, content) + b"".join(data))


class Reader:
    """Reads by the description alone: shares nothing with the writer but the numbers."""

    def __init__(self, packed):
        if packed[:4] != b"ADBd":
            raise ValueError("not an apk of version 3, deflated")
        inflate = zlib.decompressobj(-15)
        body = inflate.decompress(packed[4:])
        if not inflate.eof or inflate.unused_data:
            raise ValueError("the deflate stream does not end with the file")
        if body[:8] != b"ADB.pckg":
            raise ValueError("not a package")
        blocks, at = [], 8
        while at < len(body):
            word = self.u32(body, at)
            kind, size = word >> 30, word & 0x3FFFFFFF
            if size < 4 or at + size > len(body) or kind == 3:
                raise ValueError(f"a block at {at} is broken")
            blocks.append((kind, body[at + 4:at + size]))
            at += size + -size % 8
        kinds = [kind for kind, _ in blocks]
        if kinds[:1] != [BLOCK_ADB] or kinds != sorted(kinds) or kinds.count(BLOCK_ADB) != 1:
            raise ValueError(f"the blocks stand in the wrong order: {kinds}")
        self.meta = blocks[0][1]
        self.data = [content for kind, content in blocks if kind == BLOCK_DATA]
        if self.meta[:4] != bytes(4):
            raise ValueError("another version of the format")

    @staticmethod
    def u32(content, at):
        return struct.unpack_from("<I", content, at)[0]

    def slots(self, word):
        if word == 0:
            return []
        if word & TYPE_MASK != OBJECT:
            raise ValueError(f"{word:#x} is no object")
        at = word & VALUE_MASK
        return [self.u32(self.meta, at + 4 * i) for i in range(1, self.u32(self.meta, at))]

    def record(self, names, word):
        return {name: word for name, word in zip(names, self.slots(word)) if word}

    def value(self, word):
        kind, at = word & TYPE_MASK, word & VALUE_MASK
        if kind == INT:
            return at
        if kind in (INT32, INT64):
            return struct.unpack_from("<I" if kind == INT32 else "<Q", self.meta, at)[0]
        head = {BLOB8: "<B", BLOB16: "<H", BLOB32: "<I"}[kind]
        start = at + struct.calcsize(head)
        size = struct.unpack_from(head, self.meta, at)[0]
        if start + size > len(self.meta):
            raise ValueError("a blob leaves the metadata")
        return bytes(self.meta[start:start + size])

    def identity(self):
        """The hash that the package says of itself, and the one it has."""
        info = self.record(INFO, self.record(PACKAGE, self.u32(self.meta, 4))["info"])
        said = self.value(info["hashes"])
        at = (info["hashes"] & VALUE_MASK) + 1
        bare = self.meta[:at] + bytes(len(said)) + self.meta[at + len(said):]
        return said, hashlib.sha256(bare).digest()[:len(said)]

    def read(self):
        package = self.record(PACKAGE, self.u32(self.meta, 4))
        said, is_so = self.identity()
        if said != is_so:
            raise ValueError("the package's own hash does not fit")
        info = {}
        for name, word in self.record(INFO, package["info"]).items():
            if name == "depends":
                info[name] = [
                    self.value(self.record(DEPENDENCY, one)["name"]).decode()
                    for one in self.slots(word)
                ]
            elif name == "hashes":
                info[name] = said.hex()
            else:
                value = self.value(word)
                info[name] = value.decode() if isinstance(value, bytes) else value
        scripts = {
            kind: self.value(word).decode()
            for kind, word in self.record(SCRIPTS, package.get("scripts", 0)).items()
        }
        return {"info": info, "paths": self.paths(package["paths"]), "scripts": scripts}

    def paths(self, word):
        contents = {}
        for content in self.data:
            contents[struct.unpack_from("<II", content)] = content[8:]
        found, order = {}, []
        for path_index, word in enumerate(self.slots(word), 1):
            folder = self.record(DIRECTORY, word)
            name = self.value(folder["name"]).decode()
            found["/" + name] = {"kind": "directory"} | self.acl(folder["acl"])
            for file_index, word in enumerate(self.slots(folder.get("files", 0)), 1):
                file = self.record(FILE, word)
                path = "/".join(["", *filter(None, [name, self.value(file["name"]).decode()])])
                found[path] = self.acl(file["acl"]) | {"mtime": self.value(file["mtime"])}
                if "target" in file:
                    target = self.value(file["target"])
                    if struct.unpack_from("<H", target)[0] != stat.S_IFLNK:
                        raise ValueError(f"{path} is no symbolic link")
                    found[path] |= {"kind": "link", "target": target[2:].decode()}
                    continue
                content = contents.pop((path_index, file_index), b"")
                order.append((path_index, file_index))
                if len(content) != self.value(file["size"]):
                    raise ValueError(f"{path} has another size")
                if hashlib.sha256(content).digest() != self.value(file["hashes"]):
                    raise ValueError(f"{path} has another content")
                found[path] |= {"kind": "file", "content": content}
        if contents:
            raise ValueError(f"content without a file: {sorted(contents)}")
        if order != sorted(order):
            raise ValueError("the contents stand in the wrong order")
        return found

    def acl(self, word):
        acl = self.record(ACL, word)
        owner = self.value(acl["user"]).decode() + ":" + self.value(acl["group"]).decode()
        return {"mode": self.value(acl["mode"]), "owner": owner}


def extract(package, into):
    for path, entry in sorted(package["paths"].items()):
        place = into + path
        if entry["kind"] == "directory":
            os.makedirs(place, exist_ok=True)
            os.chmod(place, entry["mode"])
        elif entry["kind"] == "link":
            os.symlink(entry["target"], place)
        else:
            with open(place, "wb") as file:
                file.write(entry["content"])
            os.chmod(place, entry["mode"])


def test():
    """A small package of all that can be in one, against its reader and a hash."""
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "etc/config"))
        os.makedirs(os.path.join(root, "usr/bin"))
        files = {"etc/config/it": b"option\n", "usr/bin/it": b"\x7fELF" * 20000, "usr/empty": b""}
        for name, content in files.items():
            with open(os.path.join(root, name), "wb") as made:
                made.write(content)
            os.chmod(os.path.join(root, name), 0o600 if "config" in name else 0o755)
        os.symlink("/usr/bin/it", os.path.join(root, "etc/link"))
        for folder in ("", "etc", "etc/config", "usr", "usr/bin"):
            os.chmod(os.path.join(root, folder), 0o755)
        scripts = {"post-install": b"#!/bin/sh\n" + b":\n" * 200, "pre-install": b"#!/bin/sh\n"}
        info = {"name": "it", "version": "1.2.3-r1", "arch": "noarch", "description": "a thing"}
        file = write(root, info, scripts, ["procd", "libc"], 1_767_225_600)
        assert file == write(root, info, scripts, ["procd", "libc"], 1_767_225_600)

    package = Reader(file).read()
    for name, text in info.items():
        assert package["info"][name] == text, name
    assert package["info"]["depends"] == ["libc", "procd"]
    assert package["scripts"] == {kind: text.decode() for kind, text in scripts.items()}
    for name, content in files.items():
        assert package["paths"]["/" + name]["content"] == content, name
    assert package["paths"]["/etc/config/it"]["mode"] == 0o600
    assert package["paths"]["/etc/link"]["target"] == "/usr/bin/it"
    # One wrong bit anywhere in the body is found.
    body = bytearray(zlib.decompress(file[4:], -15))
    for at in range(0, len(body), 997):
        body[at] ^= 4
        deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
        try:
            if Reader(b"ADBd" + deflate.compress(bytes(body)) + deflate.flush()).read() != package:
                raise ValueError("something else was read")
        except (ValueError, KeyError, struct.error, IndexError, UnicodeDecodeError, TypeError):
            pass
        else:
            sys.exit(f"apk.py: a wrong bit at {at} is not seen")
        body[at] ^= 4
    # The body, for zlib may deflate in another way one day.
    found = hashlib.sha256(body).hexdigest()
    wanted = "93526f5a48cf6c5e84162eff70de42147d9e020e5073e387a1b2d616f0841158"
    if found != wanted:
        sys.exit(f"apk.py: the package has another hash: {found}")
    print("apk.py: written, read back, 1 hash and every damage seen")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("write")
    verb.add_argument("--root", required=True)
    verb.add_argument("--info", action="append", default=[])
    verb.add_argument("--script", action="append", default=[])
    verb.add_argument("--depends", action="append", default=[])
    verb.add_argument("out")
    verbs.add_parser("read").add_argument("file")
    verb = verbs.add_parser("extract")
    verb.add_argument("file")
    verb.add_argument("into")
    verbs.add_parser("test")
    args = parser.parse_args()
    if args.verb == "test":
        test()
    elif args.verb == "write":
        info = dict(one.split(":", 1) for one in args.info)
        scripts = {}
        for one in args.script:
            kind, path = one.split(":", 1)
            with open(path, "rb") as file:
                scripts[kind] = file.read()
        epoch = int(os.environ["SOURCE_DATE_EPOCH"])
        package = write(args.root, info, scripts, args.depends, epoch)
        with open(args.out, "wb") as file:
            file.write(package)
    else:
        with open(args.file, "rb") as file:
            package = Reader(file.read()).read()
        if args.verb == "extract":
            extract(package, args.into)
            return
        for entry in package["paths"].values():
            entry.pop("content", None)
            entry["mode"] = f"{entry['mode']:04o}"
        json.dump(package, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
