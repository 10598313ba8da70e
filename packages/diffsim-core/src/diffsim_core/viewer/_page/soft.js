// Soft bodies: unpacks what _encode_deformable.py wrote, and draws points as balls and triangles as a surface.

class SoftBody {
  constructor(data, frames, worlds, begins) {
    Object.assign(this, data);
    this.worlds = worlds;
    const size = 3 * this.points;
    const keys = new Uint16Array(bytes(data.keys)), deltas = new Int8Array(bytes(data.deltas));
    const steps = new Float32Array(bytes(data.steps));
    this.position = new Float32Array(frames * worlds * size);
    const last = new Float64Array(worlds * size);
    let key = 0, delta = 0;
    for (let t = 0; t < frames; t++)
      for (let w = 0; w < worlds; w++) {
        const row = t * worlds + w;
        const anew = t === 0 || begins[w].has(t);
        for (let i = 0; i < size; i++) {
          const at = w * size + i;
          if (anew) last[at] = this.low[i % 3] + keys[key++] * this.keyStep[i % 3];
          else last[at] += deltas[delta++] * steps[row];
          this.position[row * size + i] = last[at];
        }
      }
    this.rgb = new Uint8Array(bytes(data.rgb));
    this.triangles = new Uint32Array(bytes(data.triangles));
    this.shades = data.shades.map((shade) => ({ ...shade, values: new Uint8Array(bytes(shade.values)) }));
    this.now = new Float32Array(size);
    this.colors = new Uint8Array(size);
    this.normals = new Float32Array(size);
  }

  // Points at a time between frames, moved aside, in this.now.
  place(frame, part, world, aside) {
    const size = 3 * this.points, here = (frame * this.worlds + world) * size;
    const next = here + (part ? this.worlds * size : 0);
    for (let i = 0; i < size; i++) {
      const a = this.position[here + i];
      this.now[i] = a + part * (this.position[next + i] - a) + aside[i % 3];
    }
  }

  centre(frame, world) {
    const size = 3 * this.points, here = (frame * this.worlds + world) * size;
    const sum = [0, 0, 0];
    for (let i = 0; i < size; i++) sum[i % 3] += this.position[here + i];
    return sum.map((x) => x / this.points);
  }

  // Colours by the name of a shade, or the points' own.
  paint(frame, world, name) {
    const shade = this.shades.find((s) => s.name === name);
    if (!shade) return this.colors.set(this.rgb);
    const first = (frame * this.worlds + world) * this.points, last = this.ramp.length - 1;
    for (let k = 0; k < this.points; k++) {
      const x = (shade.values[first + k] / 255) * last, low = Math.min(Math.floor(x), last - 1);
      for (let c = 0; c < 3; c++)
        this.colors[3 * k + c] = 255 * (this.ramp[low][c] + (x - low) * (this.ramp[low + 1][c] - this.ramp[low][c]));
    }
  }

  // Normals of the vertices: those of the triangles about them, by area.
  bend() {
    const { now, normals, triangles } = this;
    normals.fill(0);
    const at = (k) => [now[3 * k], now[3 * k + 1], now[3 * k + 2]];
    for (let t = 0; t < triangles.length; t += 3) {
      const corner = at(triangles[t]);
      const n = cross(sub(at(triangles[t + 1]), corner), sub(at(triangles[t + 2]), corner));
      for (let k = 0; k < 3; k++) for (let c = 0; c < 3; c++) normals[3 * triangles[t + k] + c] += n[c];
    }
  }
}

const SOFT_VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec3 rgb;
uniform mat4 camera;
uniform mat4 view;
uniform vec4 shadow;   // as of shapes
uniform float ground;
uniform vec2 ball;     // radius [m], pixels of a length of 1 at distance 1; a radius of 0 for surfaces
out vec3 vNormal;
out vec3 vPosition;
out vec3 vColor;
void main() {
  vec3 p = position;
  if (shadow.w > 0.0) p -= shadow.xyz * max(p.z - ground, 0.0) / shadow.z;
  if (shadow.w > 0.0) p.z = ground + 0.001;
  vNormal = normal;
  vPosition = p;
  vColor = rgb;
  gl_Position = camera * vec4(p, 1.0);
  gl_PointSize = 2.0 * ball.x * ball.y / max(gl_Position.w, 1e-4);
}`;

const SOFT_FRAGMENT = `#version 300 es
precision highp float;
in vec3 vNormal;
in vec3 vPosition;
in vec3 vColor;
uniform mat4 camera;
uniform mat4 view;
uniform vec4 shadow;
uniform vec2 ball;
uniform vec3 eye;
out vec4 color;
void main() {
  vec3 n = normalize(vNormal);
  vec3 towards = normalize(eye - vPosition);
  gl_FragDepth = gl_FragCoord.z;
  if (ball.x > 0.0) {
    vec2 off = 2.0 * gl_PointCoord - 1.0;
    float inside = 1.0 - dot(off, off);
    if (inside < 0.0) discard;
    vec3 seen = vec3(off.x, -off.y, sqrt(inside)); // in the axes of the camera
    n = transpose(mat3(view)) * seen;
    vec4 front = camera * vec4(vPosition + ball.x * n, 1.0);
    gl_FragDepth = 0.5 + 0.5 * front.z / front.w;
  } else if (dot(n, towards) < 0.0) n = -n;
  if (shadow.w > 0.0) { color = vec4(0.0, 0.0, 0.0, 0.28); return; }
  float sun = max(dot(n, shadow.xyz), 0.0);
  float sky = 0.5 + 0.5 * n.z;
  color = vec4(vColor * (0.36 + 0.3 * sky + 0.45 * sun), 1.0);
}`;

// Draws the soft bodies that were put into the next picture.
class SoftPainter {
  constructor(renderer, bodies) {
    this.renderer = renderer;
    this.gl = renderer.gl;
    this.program = renderer.program(SOFT_VERTEX, SOFT_FRAGMENT);
    this.copies = [];
    this.rooms = bodies.map((body) => this.room(body));
  }

  room(body) {
    const gl = this.gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const buffers = [[0, gl.FLOAT, false], [1, gl.FLOAT, false], [2, gl.UNSIGNED_BYTE, true]].map(([place, type, whole]) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, type, whole, 0, 0);
      return buffer;
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, body.triangles, gl.STATIC_DRAW);
    return { array, buffers };
  }

  // Keep a body as it is placed and painted now, for the next picture.
  put(k, body) {
    const surface = body.triangles.length > 0;
    if (surface) body.bend();
    const [now, normals, colors] = [body.now, body.normals, body.colors].map((values) => values.slice());
    this.copies.push({ k, now, normals, colors, surface, radius: body.radius, count: surface ? body.triangles.length : body.points });
  }

  draw({ camera, view, pixels, eye, ground }, shadow) {
    const gl = this.gl, { program, uniforms } = this.program;
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.camera, false, camera);
    gl.uniformMatrix4fv(uniforms.view, false, view);
    gl.uniform3fv(uniforms.eye, eye);
    gl.uniform1f(uniforms.ground, ground);
    gl.uniform4f(uniforms.shadow, ...LIGHT, shadow);
    for (const { k, now, normals, colors, surface, radius, count } of this.copies) {
      const { array, buffers } = this.rooms[k];
      gl.bindVertexArray(array);
      [now, normals, colors].forEach((values, i) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[i]);
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      });
      gl.uniform2f(uniforms.ball, surface ? 0 : radius, pixels);
      if (surface) gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
      else gl.drawArrays(gl.POINTS, 0, count);
    }
  }

  clear() {
    this.copies = [];
  }
}
