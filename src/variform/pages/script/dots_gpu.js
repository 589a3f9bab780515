// Dots by WebGL: their places and colours are handed over once; zooming and panning are four numbers.

/**
 * @import { Drawn, Place } from "./dots.js"
 */

import { PARTS } from "./dots_plain.js";

const VERTICES = `
attribute vec2 place;
attribute vec4 colour;
uniform vec4 frame; // left, top, scale, radius
uniform vec2 size;
varying highp vec2 middle;
varying lowp vec4 ink;
void main() {
  vec2 pixel = vec2(frame.x + place.x * frame.z, frame.y - place.y * frame.z);
  pixel = (floor(pixel * ${PARTS}.0) + 0.5) / ${PARTS}.0;
  gl_Position = vec4(2.0 * pixel.x / size.x - 1.0, 1.0 - 2.0 * pixel.y / size.y, 0.0, 1.0);
  gl_PointSize = 2.0 * ceil(frame.w + 1.5);
  middle = vec2(pixel.x, size.y - pixel.y);
  ink = colour;
}`;
const PIXELS = `
precision highp float;
uniform vec4 frame;
varying highp vec2 middle;
varying lowp vec4 ink;
void main() {
  float share = clamp(frame.w + 0.5 - distance(gl_FragCoord.xy, middle), 0.0, 1.0) * ink.a;
  gl_FragColor = vec4(ink.rgb * share, share);
}`;

export class Gpu {
  /** @type {Drawn | null} */
  _drawn = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGLRenderingContext} gl
   * @param {WebGLProgram} program
   */
  constructor(canvas, gl, program) {
    this.canvas = canvas;
    this.gl = gl;
    this.frame = gl.getUniformLocation(program, "frame");
    this.size = gl.getUniformLocation(program, "size");
    this.places = this._buffer(program, "place", 2, gl.FLOAT);
    this.inks = this._buffer(program, "colour", 4, gl.UNSIGNED_BYTE);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /** @returns {Gpu | null} null where there is no WebGL */
  static made() {
    const canvas = document.createElement("canvas");
    const options = { antialias: false, depth: false, preserveDrawingBuffer: true };
    const gl = /** @type {WebGLRenderingContext | null} */ (canvas.getContext("webgl", options));
    if (!gl) return null;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {const} */ ([
      [gl.VERTEX_SHADER, VERTICES],
      [gl.FRAGMENT_SHADER, PIXELS],
    ])) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    return gl.getProgramParameter(program, gl.LINK_STATUS) ? new Gpu(canvas, gl, program) : null;
  }

  /**
   * @param {WebGLProgram} program
   * @param {string} name
   * @param {number} size
   * @param {number} type
   */
  _buffer(program, name, size, type) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    const location = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, type, type === gl.UNSIGNED_BYTE, 0, 0);
    return buffer;
  }

  /**
   * @param {Drawn} drawn
   * @param {Place} place
   * @returns {HTMLCanvasElement | null} null where the device was lost
   */
  paint(drawn, { w, h, left, top, scale, radius }) {
    const { gl, canvas } = this;
    if (gl.isContextLost()) return null;
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    if (drawn !== this._drawn) this._hand(drawn);
    gl.viewport(0, 0, w, h);
    gl.uniform4f(this.frame, left, top, scale, radius);
    gl.uniform2f(this.size, w, h);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArrays(gl.POINTS, 0, drawn.colours.length);
    return canvas;
  }

  /** @param {Drawn} drawn */
  _hand(drawn) {
    const { gl } = this;
    const table = Uint8Array.from(drawn.table.flatMap(([r, g, b, opacity]) => [r, g, b, Math.round(255 * opacity)]));
    const inks = new Uint8Array(4 * drawn.colours.length);
    drawn.colours.forEach((colour, i) => {
      for (let k = 0; k < 4; k++) inks[4 * i + k] = table[4 * colour + k];
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, this.places);
    gl.bufferData(gl.ARRAY_BUFFER, drawn.xy, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.inks);
    gl.bufferData(gl.ARRAY_BUFFER, inks, gl.STATIC_DRAW);
    this._drawn = drawn;
  }

  /** Whether the processor computes it, by the name of what draws. */
  get isSoftware() {
    const { gl } = this;
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    const name = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
  }

  /** Wait until all is drawn. */
  finish() {
    const { gl } = this;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }
}
