// The views of the page, in the order of their tabs.

import { GridView } from "./grid.js";
import { MapView } from "./map.js";
import { MorphView } from "./morph.js";
import { NumbersView } from "./numbers.js";
import { RebuiltView } from "./rebuilt.js";
import { SamplesView } from "./samples.js";
import { SlidersView } from "./sliders.js";
import { StudyView } from "./study.js";
import { TargetView } from "./target.js";

export const VIEWS = [
  MapView,
  SlidersView,
  MorphView,
  GridView,
  SamplesView,
  RebuiltView,
  NumbersView,
  TargetView,
  StudyView,
];
