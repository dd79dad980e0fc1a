"""Makes the page's map of the world, map.tsv: a country a line, with its number in ISO 3166-1, its name, a point within
it, and its outline as an SVG path of whole numbers.

Run from the root of the tree, with npm: python3 guard-user/src/page/make_map.py

The outlines are Natural Earth's at 1:110m, which are in the public domain (https://www.naturalearthdata.com), as the
package world-atlas has them, by its version and its SHA-256. A degree is two units, the left edge is at 180 degrees west
and the upper one at 84 degrees north. Antarctica is left out: nobody is sent anything there.
"""

import hashlib
import json
import pathlib
import subprocess
import tarfile
import tempfile

PACKAGE = ("world-atlas@2.0.2", "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97")
TARGET = pathlib.Path("guard-user/src/page/map.tsv")
SCALE, NORTH = 2, 84
LEFT_OUT = {"010"}


def atlas():
    name, digest = PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        archive = next(pathlib.Path(folder).glob("*.tgz"))
        if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{archive.name} is not the package that it should be")
        with tarfile.open(archive) as files:
            return json.load(files.extractfile("package/countries-110m.json"))


def decoded(topology):
    (sx, sy), (tx, ty) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * sx + tx, y * sy + ty))
        arcs.append(points)
    return arcs


def ring(arcs, indices):
    points = []
    for index in indices:
        arc = arcs[index] if index >= 0 else arcs[~index][::-1]
        points += arc[1:] if points else arc
    whole, turn, before = [], 0, None
    for lon, lat in points:
        # On the other side of the 180th meridian it goes on beyond the edge.
        if before is not None and abs(lon - before) > 180:
            turn += 360 if lon < before else -360
        before = lon
        point = (round((lon + turn + 180) * SCALE), round((NORTH - lat) * SCALE))
        if not whole or whole[-1] != point:
            whole.append(point)
    if len(whole) > 1 and whole[0] == whole[-1]:
        whole.pop()
    return whole


def within(points):
    """The ring, and once more where a part of it is beyond an edge: the map shows of each what is within."""
    wide = 360 * SCALE
    xs = [x for x, _ in points]
    shifts = [0] + [-wide] * (max(xs) > wide) + [wide] * (min(xs) < 0)
    return [[(x + shift, y) for x, y in points] for shift in shifts]


def path(points):
    (x, y), steps = points[0], []
    text = f"M{x} {y}l"
    for nx, ny in points[1:]:
        steps.append(f"{nx - x} {ny - y}")
        x, y = nx, ny
    return text + " ".join(steps).replace(" -", "-") + "z"


def area(points):
    pairs = zip(points, points[1:] + points[:1])
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def main():
    topology = atlas()
    arcs = decoded(topology)
    lines = []
    for country in topology["objects"]["countries"]["geometries"]:
        number = country.get("id", "-")
        if number in LEFT_OUT:
            continue
        polygons = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        rings = [ring(arcs, part) for polygon in polygons for part in polygon]
        rings = sorted((it for it in rings if len(it) > 2), key=area, reverse=True)
        largest = rings[0]
        centre = [round((min(axis) + max(axis)) / 2) for axis in zip(*largest)]
        name = country["properties"]["name"]
        lines.append(f"{number}\t{name}\t{centre[0]} {centre[1]}\t{''.join(path(it) for ring in rings for it in within(ring))}\n")
    TARGET.write_text("".join(sorted(lines)))


main()
