// The colour of every example by a column of its data, and what a legend needs.

import { floatsOf, integersOf } from "./bytes.js";
import { PALETTES, scaleColour, Theme } from "./theme.js";

const MOST_COLOURS = 10;

// The colour of every row by a column: of(i), group(i), and what a legend needs.
export function colouring(world, name) {
  const column = world.columns.find((item) => item.name === name);
  if (!column) return null;
  column.plain ??= column.kind === "category" ? integersOf(column.values) : floatsOf(column.values);
  const values = column.plain;
  if (column.kind === "number") {
    column.sorted ??= Float32Array.from(values.filter(Number.isFinite)).sort();
    const low = column.sorted[Math.floor(0.01 * (column.sorted.length - 1))];
    const high = column.sorted[Math.ceil(0.99 * (column.sorted.length - 1))];
    const of = (i) =>
      Number.isFinite(values[i]) ? scaleColour((values[i] - low) / (high - low || 1)) : Theme.colours.missing;
    return { ...column, low, high, of, group: () => 0 };
  }
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const known = column.categories.map((_, k) => k).filter((k) => counts.has(k));
  const palette = PALETTES[Theme.dark ? "dark" : "light"];
  const kept =
    known.length <= MOST_COLOURS
      ? known
      : known.toSorted((a, b) => counts.get(b) - counts.get(a)).slice(0, MOST_COLOURS - 1);
  const place = new Map(kept.map((k, i) => [k, i]));
  const group = (i) => place.get(values[i]) ?? (values[i] < 0 ? MOST_COLOURS + 1 : MOST_COLOURS);
  const shade = (at) => (at < kept.length ? palette[at] : Theme.colours.missing);
  const groups = kept.map((k, i) => ({
    name: column.categories[k],
    count: counts.get(k),
    shade: palette[i],
    group: i,
  }));
  const others = known.length - kept.length;
  const left = known.filter((k) => !place.has(k)).reduce((sum, k) => sum + counts.get(k), 0);
  if (others) groups.push({ name: `${others} others`, count: left, shade: Theme.colours.missing, group: MOST_COLOURS });
  if (counts.has(-1))
    groups.push({ name: "none", count: counts.get(-1), shade: Theme.colours.missing, group: MOST_COLOURS + 1 });
  return { ...column, groups, group, of: (i) => shade(group(i)) };
}
