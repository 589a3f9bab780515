// Arrays in and out: base64 from the page's data, .npy and .csv to the user.

/** @param {string} text base64 */
export function bytesOf(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** @param {string} text base64 of little-endian float32 */
export const floatsOf = (text) => new Float32Array(bytesOf(text).buffer);

/** @param {string} text base64 of little-endian int16 */
export const integersOf = (text) => new Int16Array(bytesOf(text).buffer);

/**
 * A NumPy file, format 1.0, of little-endian float32.
 *
 * @param {Float32Array} values
 * @param {number[]} shape
 */
export function npyOf(values, shape) {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
  const length = Math.ceil((header.length + 11) / 64) * 64 - 10; // a multiple of 64 with the ten bytes before it
  const line = `${header.padEnd(length - 1)}\n`;
  const head = new Uint8Array(10 + length);
  head.set([0x93, 78, 85, 77, 80, 89, 1, 0, length & 255, length >> 8]);
  for (let i = 0; i < length; i++) head[10 + i] = line.charCodeAt(i);
  return new Blob([head, Float32Array.from(values)], { type: "application/octet-stream" });
}

/** @param {(string | number)[][]} rows */
export function csvOf(rows) {
  const lines = rows.map((row) => row.map(cellOf).join(","));
  return new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" });
}

/** @param {string | number} value */
function cellOf(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Hand a file to the user.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
