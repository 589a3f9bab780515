// The words of the page for the type check; nothing of this goes into the bundle. `Contents` is what contents.py
// gathers, `Payload` what payload.py packs and lowering.py lowers.

import type { Designs } from "./designs.js";
import type { Cloud, Plane } from "./geometry.js";
import type { Products } from "./kernel.js";
import type { Nearness } from "./nearness.js";
import type { Study } from "./study.js";
import type { Validity } from "./validity.js";

export type { App } from "./app.js";

/** A latent point. */
export type Point = Float32Array<ArrayBuffer>;

/** A place and a size in CSS pixels. */
export type Box = { x: number; y: number; w: number; h: number };

export type Draw = (context: CanvasRenderingContext2D, i: number, box: Box) => void;

/** Many designs, each of which can be drawn. */
export type Sheet = { draw: Draw };

/** The examples: of tables with their values, of images whether a picture is the example's own. */
export type Examples = Sheet & { values: Float32Array | null; isReal: (i: number) => boolean };

/** A picture of neighbours: x and y of each row, not finite for rows without a place. */
export type EmbeddingOfRows = { name: string; places: string; count: number };

export type Pca = { centre: number[]; axes: number[][]; shares: number[] };

export type Latents = {
  dim: number;
  order: number[];
  measure: number[];
  errors: number[] | null;
  what: string;
  unit: string;
  ranges: [number, number][];
  prior: string;
  standard: boolean;
  grid: string | null;
  /** Where they lie, if not in a flat space: of a sphere the axes of the globe that shows it, of a ball its radius. */
  space: { kind: "sphere" | "ball"; radius: number; axes: number[][] | null } | null;
};

/** A column of what a design is. */
export type Column = {
  name: string;
  unit: string;
  full: string;
  kind: string;
  categories: string[];
  whole: boolean;
  low: number;
  high: number;
};

/** How the values of a row are a line in a plane: the points round it, and what those of all rows lie between. */
export type Line = {
  /** Columns that hold x of each point; null where `places` has them. */
  x: number[] | null;
  places: number[] | null;
  y: number[];
  closed: boolean;
  /** Of x and y: equal, each its own, or one of x that nobody knows. */
  scale: "equal" | "own" | "unknown";
  /** The least and the greatest x, and y. */
  box: [number, number, number, number];
  /** Units of x and y. */
  axes: [string, string];
};

export type EventOfData = {
  kind: "image" | "table" | "curve" | "outline";
  shape: number[];
  /** The least and the greatest value; of images one a channel. */
  range: [number, number] | [number[], number[]];
  columns?: Column[];
  line?: Line | null;
};

/** By what examples may be coloured: numbers, or categories of which -1 is none. */
export type ColourColumn = {
  name: string;
  role: "label" | "response" | "value" | "factor" | "condition" | "split" | "error";
  unit?: string;
  kind: "number" | "category";
  values: string;
  /** Which column of a design it is. */
  column?: number;
  categories?: string[];
  /** What `values` hold, and that without missing numbers in order: once they are asked for. */
  numbers?: Float32Array | Int16Array;
  sorted?: Float32Array;
};

export type RowsOfData = {
  count: number;
  total: number;
  means: string;
  columns: ColourColumn[];
  worst: number[];
  others: number[];
  judged: string;
  contexts: string | null;
  names: string[] | null;
  /** Of each its number in the source, counted from 0. */
  numbers: number[] | null;
  values?: string;
  picture?: {
    data: string;
    type: string;
    across: number;
    width: number;
    height: number;
    /** Which rows have a picture, in order; without it all. */
    rows?: number[];
  };
};

export type Condition = {
  name: string;
  unit: string;
  categories: string[];
  range: [number, number];
  shift: number;
  scale: number;
};

export type Counted = {
  rows: number;
  few: number;
  low: number[];
  high: number[];
  step: number[];
  cells: number[][];
  counts: number[];
};

/** The best so far of a space: quartiles over its seeds after each evaluation, as base64 of float32. */
export type Search = { name: string; seeds: number; low: string; median: string; high: string };

/** `column` is its place among the columns of the designs, -1 where no design has a value. */
export type Objective = {
  name: string;
  unit: string;
  goal: "min" | "max";
  reference: number | null;
  column: number;
};

/** Evaluated designs, one in each list; `state` is 0 for a feasible, 1 for a valid, 2 for an invalid one. */
export type EvaluatedDesigns = {
  count: number;
  total: number;
  ids: string[];
  spaces: string[];
  space: number[];
  seed: number[];
  evaluation: number[];
  state: number[];
  reasons: string[];
  isLatent: boolean[];
  isRepaired: boolean[];
  means: string;
  rank: number[];
  nearest: string[];
  distance: string;
  novelty: string;
  /** How many of the columns are responses; the others are those of a table. */
  responses: number;
  columns: ColourColumn[];
  values?: string;
  picture?: RowsOfData["picture"];
};

/** As kernel_validity.py fits it. */
export type LearnedValidity = {
  centres: number[][];
  weights: number[];
  bias: number;
  gamma: number;
  auc: { mean: number; se: number };
  answers: number;
};

/** What study.py gathers of a design study. */
export type StudyContents = {
  name: string;
  label: string;
  searches: Search[];
  known: number | null;
  objectives: Objective[];
  constraints: string[];
  front: number[];
  knownFront: { name: string; values: number[] }[];
  designs: EvaluatedDesigns;
  validity: { note: string; learned?: LearnedValidity };
  context: number[];
  notes: string[];
};

export type Contents = {
  title: string;
  summary: string;
  event: EventOfData;
  collapsed: boolean;
  latents: Latents;
  plane: Pca | null;
  embedding: EmbeddingOfRows | null;
  rows: RowsOfData;
  conditions: Condition[];
  occupancy: Counted | null;
  context: number[];
  palettes: { light: string[]; dark: string[] };
  study: StudyContents | null;
  laws: { name: string; codes: string | null }[];
  numbers: {
    header: string[];
    rows: string[][];
    /** Where the name of each row is explained, if anywhere. */
    links: string[];
    /** What was asked of the model in depth. */
    questions: Question[];
    warnings: string[];
    notes: string[];
    facts: [string, string][];
    active: { count: number; of: number };
  };
};

/** What was asked of the model in depth, with its numbers as text. */
export type Question = {
  title: string;
  asked: string;
  answer: string;
  /** Names of the user's stand in `own`. */
  tables: { title: string; header: string[]; rows: string[][]; note: string; own: string[] }[];
  /** What names at the beginning of rows mean. */
  meanings: Record<string, string>;
};

export type ColourGroup = { name: string; count: number; shade: string; group: number };

/** The colour of every example by a column, and what a legend needs. */
export type Colouring = {
  name: string;
  role: string;
  unit?: string;
  kind: "number" | "category";
  /** The colours, and of each example its place among them. */
  shades: string[];
  places: Uint8Array;
  of: (i: number) => string;
  group: (i: number) => number;
  groups: ColourGroup[];
  /** The ends of the scale, and of all numbers. */
  low: number;
  high: number;
  range: [number, number];
  /** How many examples have no number. */
  missing: number;
};

/** A number of each example; `column` is that of a design, -1 for what is known of examples alone. */
export type Quantity = { name: string; unit: string; column: number; readonly numbers: Float32Array };

/** What a quantity must be within, null for an open end. */
export type Limit = { name: string; low: number | null; high: number | null };

/** What the page knows of the data. */
export type World = {
  quantities: Quantity[];
  designs: Designs;
  cloud: Cloud;
  nearness: Nearness;
  columns: ColourColumn[];
  examples: Examples;
  label: ColourColumn | undefined;
  order: number[];
  rowsNote: string;
  study: Study | null;
};

/** A known or an evaluated design, ready to be laid beside others. */
export type Item = {
  key: string;
  name: string;
  z: Point;
  /** What it is, in words. */
  about: string;
  draw: (context: CanvasRenderingContext2D, box: Box) => void;
  /** Of tables and curves. */
  values: Float32Array | null;
  /** The value of a response or of a column by its name; NaN where there is none. */
  valueOf: (name: string) => number;
};

export type WayName = "straight" | "data";

/** What is kept: the address holds all of it. Views add parts of their own. */
export type State = {
  view: string;
  z: Point;
  pins: Point[];
  /** Of the pins, in their order; those that are missing are empty. */
  labels: Label[];
  theme: string;
  plane: string;
  colour: string;
  marks: string;
  fog: boolean;
  fogOf: "validity" | "data";
  designs: boolean;
  only: number;
  target: Limit[];
  limits: Limit[];
  /** Whether the standard deviation of p(x|z) is shown beside the mean. */
  spread: boolean;
  zoom: Zoom | null;
  selection: Region | null;
  context: Float32Array;
  tray: string[];
  page?: number;
  morph?: { a: number; b: number; way: WayName; share: number };
  grid?: number;
  draw?: { law: number; seed: number };
  [part: string]: any;
};

/** What the user writes of a pin. */
export type Label = { name: string; note: string };

/** How a part of the state starts and stands in the address; its name there is its own unless one is given. */
export type KeptPart = {
  name?: string;
  start: any;
  read: (text: string) => any;
  write?: (value: any) => string;
};

/** A part of the plane of the map: how much larger than all of it, and the place in the middle. */
export type Zoom = { by: number; x: number; y: number };

/** x and y, in a plane or on the screen. */
export type Place = [number, number];

/** A part of a plane: the least x and y, and the greatest; or x and y of three corners or more. */
export type Region = number[];

/** What a drag on the map does. */
export type Tool = "move" | "rectangle" | "lasso";

/** How the map shows what stands still. */
export type Look = {
  plane: Plane;
  colour: Colouring | null;
  marks: string;
  fog: boolean;
  /** Which examples are not faint; null for all. */
  chosen: Uint8Array | null;
  study: Study | null;
  /** What the fog shows in the place of where there are no data, about a point. */
  validity: Validity | null;
  about: Point;
  zoom?: Zoom | null;
  /** What is drawn as the border of what is selected. */
  selection?: Region | null;
};

/** What moves on the map. */
export type Marks = { z: Point; near?: number; pins?: Point[]; way?: Point[] | null; found?: number[] };

/** What is known of an example: its name, and what else by name. */
export type Description = { name: string; facts: [string, string][] };

/** What pointer and keyboard do on the map. */
export type Hand = {
  describe: (i: number) => Description;
  about: () => Point;
  follow: (z: Point) => void;
  leave: () => void;
  choose: (z: Point) => void;
  keep: (z: Point) => void;
  /** Of a map that can be zoomed. */
  zoom?: (zoom: Zoom | null) => void;
  whole?: () => void;
  select?: (region: Region | null) => void;
  tool?: () => Tool;
};

/** What a hand does, at places in pixels; a map without `zoom` shows all that it has. */
export type Gesture = {
  hover: (place: [number, number], isTouch: boolean) => void;
  leave: () => void;
  click: (place: [number, number]) => void;
  tap: (place: [number, number]) => void;
  isWhole?: () => boolean;
  whole?: () => void;
  zoom?: (factor: number, place: [number, number]) => void;
  pan?: (right: number, down: number) => void;
  /** What a drag does. */
  tool?: () => Tool;
  /** The way of a drag that selects; empty where there is none any more. */
  draw?: (way: Place[], tool: Tool) => void;
  select?: (way: Place[], tool: Tool) => void;
};

/** What pointer and keyboard do on one of many designs. */
export type Pick = { follow: (i: number) => void; leave: () => void; choose: (i: number) => void };

/** A step of a decoder: its operation and its facts, among them names of arrays, as lowering.py lists them. */
export type Step = { op: string; [fact: string]: any };

/** What a step takes and gives, for `count` codes at once; data is the step's own to overwrite. */
export type Values = { data: Float32Array; shape: number[]; count: number; context: Float32Array };

/** A layer in the memory of the kernel. */
export type Layer = { start: number; inputs: number; outputs: number; blocks: number; row: number };

/** What runs the steps. */
export type Engine = { products: Products; run: (steps: Step[], values: Values) => Values };

export type KernelName = "js" | "wasm-simd";

export type Payload = {
  latentDim: number;
  contextDim: number;
  eventShape: number[];
  url?: string;
  /** Where a server tells standard deviations of p(x|z). */
  spreadUrl?: string;
  mostCodes?: number;
  steps?: Step[];
  /** How many of the steps are those of the network; behind them `spread` leads to standard deviations. */
  shared?: number;
  spread?: Step[];
  /** Of whole numbers, `i8`, `steps` names the array of the step of each row. */
  arrays?: Record<string, { shape: number[]; type: "f16" | "f32" | "i8"; start: number; steps?: string }>;
  /** Base64, or bytes once they are unpacked; of `f16` the low bytes of an array stand before its high ones. */
  weights?: string | Uint8Array<ArrayBuffer>;
  /** The greatest difference from what Python decodes, as a share of the range of the data. */
  error?: number;
};

export type Decoder = {
  kernel: string;
  error?: number;
  /** Whether it knows standard deviations of p(x|z). */
  hasSpread: boolean;
  spread: (z: Float32Array, context?: Float32Array | null) => Float32Array | null | Promise<Float32Array>;
  decode: (z: Float32Array, context?: Float32Array | null) => Float32Array | Promise<Float32Array>;
};

declare global {
  /** What the page hands out: `ready` and `port` of loader.js, the rest of index.js. */
  var variform: Record<string, any>;
}
