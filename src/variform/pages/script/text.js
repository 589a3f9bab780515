// How numbers read.

export const MINUS = "\u2212";

// A number for reading: as many digits as are needed to tell values apart that are `unit` from each other.
export function shown(value, unit = 0) {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  let text;
  if (unit > 0 && size < 1e6) text = value.toFixed(Math.max(0, Math.min(8, -Math.floor(Math.log10(unit)))));
  else if (size !== 0 && (size >= 1e5 || size < 1e-3)) text = value.toExponential(2);
  else text = String(Number(value.toPrecision(4)));
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}

// How far away something is, in words.
export function away(distance) {
  return distance < 0.005 ? "right here" : `${distance < 10 ? distance.toFixed(2) : shown(distance)} away`;
}

// The shortest decimal that float32 reads back.
export function float32Text(value) {
  if (!Number.isFinite(value)) return "";
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === Math.fround(value)) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}
