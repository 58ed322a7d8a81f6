#!/usr/bin/env python3
"""Writes what the program is made of as a CycloneDX 1.5 document, from Cargo.lock and Cargo.toml.

    sbom.py write Cargo.lock Cargo.toml OUT    OUT is JSON, the same for the same two files
    sbom.py check FILE                         whether a document has the shape it must have

In the document is what is compiled into the program: the packages that the program depends on, at
any depth, without those that only tests need. Cargo.lock does not tell build-time helpers and other
systems' packages from the rest, so a few of those are in it too: never too little.
"""

import hashlib
import json
import re
import sys
import tomllib


def key(package):
    return package["name"], package["version"]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def needed(lock, manifest):
    """The packages of the program, in order, with what each depends on."""
    packages = {key(package): package for package in lock["package"]}

    def found(dependency):
        # "name", or "name version" where there are several.
        name, _, version = dependency.partition(" ")
        version = version.split(" ")[0]
        fits = [one for one in packages.values()
                if one["name"] == name and version in ("", one["version"])]
        if len(fits) != 1:
            sys.exit(f"sbom.py: {dependency} is not one package of the lock")
        return fits[0]

    root = next(one for one in lock["package"] if one["name"] == manifest["package"]["name"])
    own = set(manifest.get("dependencies", {})) | set(manifest.get("build-dependencies", {}))
    edges, wanted = {}, [root]
    while wanted:
        package = wanted.pop()
        if key(package) in edges:
            continue
        below = [found(one) for one in package.get("dependencies", [])]
        if package is root:
            below = [one for one in below if one["name"] in own]
        edges[key(package)] = sorted(below, key=key)
        wanted += below
    return root, packages, edges


def write(lock_file, manifest_file):
    with open(lock_file, "rb") as file:
        lock_bytes = file.read()
    with open(manifest_file, "rb") as file:
        manifest = tomllib.load(file)
    root, packages, edges = needed(tomllib.loads(lock_bytes.decode()), manifest)
    components = []
    for name_version in sorted(edges):
        package = packages[name_version]
        if package is root:
            continue
        component = {
            "type": "library",
            "bom-ref": reference(package),
            "name": package["name"],
            "version": package["version"],
            "purl": reference(package),
        }
        if "checksum" in package:
            component["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
        components.append(component)
    about = manifest["package"]
    # A number of its own, which the same lock always gets.
    digest = hashlib.sha256(lock_bytes + reference(root).encode()).hexdigest()
    serial = f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference(root),
                "name": root["name"],
                "version": root["version"],
                "description": about["description"],
                "licenses": [{"license": {"id": about["license"]}}],
                "purl": reference(root),
            },
        },
        "components": components,
        "dependencies": [
            {"ref": reference(packages[one]), "dependsOn": [reference(two) for two in edges[one]]}
            for one in sorted(edges)
        ],
    }


def check(bom):
    """What a reader of CycloneDX 1.5 relies on."""
    assert bom["bomFormat"] == "CycloneDX" and bom["specVersion"] == "1.5"
    uuid = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    assert re.fullmatch(uuid, bom["serialNumber"])
    assert isinstance(bom["version"], int) and bom["version"] >= 1
    root = bom["metadata"]["component"]
    references = [root["bom-ref"]]
    for component in bom["components"]:
        assert component["type"] == "library" and component["name"] and component["version"]
        assert component["purl"] == f"pkg:cargo/{component['name']}@{component['version']}"
        for one in component.get("hashes", []):
            assert one["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", one["content"])
        references.append(component["bom-ref"])
    assert len(references) == len(set(references)), "a reference stands twice"
    assert [one["ref"] for one in bom["dependencies"]] != []
    for one in bom["dependencies"]:
        assert one["ref"] in references and set(one["dependsOn"]) <= set(references), one["ref"]
    assert len(bom["components"]) > 0
    return len(bom["components"])


def main():
    match sys.argv[1:]:
        case ["write", lock, manifest, out]:
            bom = write(lock, manifest)
            check(bom)
            with open(out, "w", encoding="utf-8") as file:
                json.dump(bom, file, indent=1)
                file.write("\n")
        case ["check", path]:
            with open(path, encoding="utf-8") as file:
                print(f"sbom.py: {check(json.load(file))} components")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
