// WebGL 2: many copies of a few unit shapes, a ground, and flat shadows on it.

const SHAPE_VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in mat4 model;
layout(location = 6) in vec4 color;
uniform mat4 camera;
uniform vec4 shadow;  // direction of the light; w: 1 to fall on the ground below
uniform float ground;
out vec3 vNormal;
out vec3 vPosition;
out vec4 vColor;
void main() {
  vec4 p = model * vec4(position, 1.0);
  vec3 stretch = vec3(dot(model[0], model[0]), dot(model[1], model[1]), dot(model[2], model[2]));
  vNormal = mat3(model) * (normal / stretch);
  if (shadow.w > 0.0) p.xyz -= shadow.xyz * max(p.z - ground, 0.0) / shadow.z;
  if (shadow.w > 0.0) p.z = ground + 0.001;
  vPosition = p.xyz;
  vColor = color;
  gl_Position = camera * p;
}`;

const SHAPE_FRAGMENT = `#version 300 es
precision highp float;
in vec3 vNormal;
in vec3 vPosition;
in vec4 vColor;
uniform vec4 shadow;
uniform vec3 eye;
out vec4 color;
void main() {
  if (shadow.w > 0.0) { color = vec4(0.0, 0.0, 0.0, 0.28); return; }
  vec3 n = normalize(vNormal);
  vec3 towards = normalize(eye - vPosition);
  float sun = max(dot(n, shadow.xyz), 0.0);
  float sky = 0.5 + 0.5 * n.z;
  float shine = pow(max(dot(n, normalize(shadow.xyz + towards)), 0.0), 40.0);
  color = vec4(vColor.rgb * (0.32 + 0.3 * sky + 0.48 * sun) + 0.12 * shine, vColor.a);
}`;

const GROUND_VERTEX = `#version 300 es
layout(location = 0) in vec2 corner;
uniform mat4 camera;
uniform mat4 frame;
uniform vec2 middle;
out vec2 vLocal;
out vec2 vAway;
void main() {
  vAway = corner * 60.0;
  vLocal = middle + vAway;
  gl_Position = camera * frame * vec4(vLocal, 0.0, 1.0);
}`;

const GROUND_FRAGMENT = `#version 300 es
precision highp float;
in vec2 vLocal;
in vec2 vAway;
uniform vec3 light;
uniform vec3 dark;
uniform vec3 line;
uniform vec3 sky;
out vec4 color;
void main() {
  vec2 wide = max(fwidth(vLocal), vec2(1e-4));
  // Squares of 1 m, smoothed over a pixel: the mean of the square wave over it.
  vec2 wave = 2.0 * (abs(fract((vLocal - 0.5 * wide) * 0.5) - 0.5) - abs(fract((vLocal + 0.5 * wide) * 0.5) - 0.5)) / wide;
  vec3 tile = mix(dark, light, 0.5 - 0.5 * wave.x * wave.y);
  vec2 edge = abs(fract(vLocal / 5.0 - 0.5) - 0.5) * 5.0 / wide;
  tile = mix(tile, line, 0.6 * (1.0 - min(min(edge.x, edge.y), 1.0)));
  color = vec4(mix(tile, sky, smoothstep(14.0, 55.0, length(vAway))), 1.0);
}`;

const LIGHT = unit([0.35, -0.45, 0.82]);
const FLOATS = 20; // of an instance: a matrix and a colour

class Renderer {
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: true, stencil: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this page needs WebGL 2, which this browser does not have or has turned off");
    this.gl = gl;
    this.canvas = canvas;
    this.shapes = this.program(SHAPE_VERTEX, SHAPE_FRAGMENT);
    this.ground = this.program(GROUND_VERTEX, GROUND_FRAGMENT);
    this.meshes = {};
    this.soft = null; // draws soft bodies, where there are any
    this.square = gl.createVertexArray();
    gl.bindVertexArray(this.square);
    this.attribute(0, 2, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]));
    for (const [name, mesh] of Object.entries({
      sphere: sphereMesh(), box: boxMesh(), cylinder: cylinderMesh(40), tube: cylinderMesh(8), cone: coneMesh(),
    })) this.addMesh(name, mesh);
  }

  program(vertex, fragment) {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    return { program, uniforms };
  }

  attribute(place, size, values) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
  }

  addMesh(name, { position, normal, index }) {
    const gl = this.gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    this.attribute(0, 3, new Float32Array(position));
    this.attribute(1, 3, new Float32Array(normal));
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array(index), gl.STATIC_DRAW);
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    for (let k = 0; k < 5; k++) {
      gl.enableVertexAttribArray(2 + k);
      gl.vertexAttribPointer(2 + k, 4, gl.FLOAT, false, 4 * FLOATS, 16 * k);
      gl.vertexAttribDivisor(2 + k, 1);
    }
    this.meshes[name] = { array, buffer, count: index.length, instances: [] };
  }

  // Put another copy of a mesh into the next picture. kind: "solid" has a shadow, "free" has none, "mark" shines
  // through what is before it.
  put(name, matrix, color, kind = "solid") {
    this.meshes[name].instances.push({ matrix, color, kind });
  }

  // planes: matrices of level grounds; groundHeight: z that shadows fall on, or null.
  draw({ view, projection, eye, middle, planes, groundHeight, theme }) {
    const gl = this.gl;
    const camera = multiply(projection, view);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(...theme.sky, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    this.drawGround(camera, middle, planes, theme);
    const pixels = 0.5 * this.canvas.height * projection[5];
    const drawSoft = (shadow) => {
      this.soft?.draw({ camera, view, pixels, eye, ground: groundHeight ?? 0 }, shadow);
      gl.useProgram(this.shapes.program);
    };
    gl.useProgram(this.shapes.program);
    const { uniforms } = this.shapes;
    gl.uniformMatrix4fv(uniforms.camera, false, camera);
    gl.uniform3fv(uniforms.eye, eye);
    gl.uniform1f(uniforms.ground, groundHeight ?? 0);
    if (groundHeight !== null) {
      gl.enable(gl.STENCIL_TEST);
      gl.enable(gl.BLEND);
      gl.depthMask(false);
      gl.stencilFunc(gl.EQUAL, 0, 255); // darken a pixel once
      gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
      gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
      gl.uniform4f(uniforms.shadow, ...LIGHT, 1);
      this.drawInstances(({ kind }) => kind === "solid");
      drawSoft(1);
      gl.disable(gl.STENCIL_TEST);
      gl.disable(gl.BLEND);
      gl.depthMask(true);
    }
    gl.uniform4f(uniforms.shadow, ...LIGHT, 0);
    this.drawInstances(({ color }) => color[3] >= 1);
    drawSoft(0);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE);
    gl.depthMask(false);
    this.drawInstances(({ color }) => color[3] < 1);
    gl.depthMask(true);
    gl.disable(gl.DEPTH_TEST);
    this.drawInstances(({ kind }) => kind === "mark", 0.35);
    gl.disable(gl.BLEND);
    for (const mesh of Object.values(this.meshes)) mesh.instances = [];
    this.soft?.clear();
  }

  drawGround(camera, middle, planes, theme) {
    const gl = this.gl;
    const { program, uniforms } = this.ground;
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.camera, false, camera);
    for (const name of ["light", "dark", "line", "sky"]) gl.uniform3fv(uniforms[name], theme[name]);
    gl.bindVertexArray(this.square);
    for (const frame of planes) {
      const away = sub(middle, [frame[12], frame[13], frame[14]]);
      gl.uniformMatrix4fv(uniforms.frame, false, frame);
      gl.uniform2f(uniforms.middle, dot(away, [...frame.slice(0, 3)]), dot(away, [...frame.slice(4, 7)]));
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
  }

  drawInstances(chosen, opacity = 1) {
    const gl = this.gl;
    for (const { array, buffer, count, instances } of Object.values(this.meshes)) {
      const some = instances.filter(chosen);
      if (!some.length) continue;
      const values = new Float32Array(FLOATS * some.length);
      some.forEach(({ matrix, color }, k) => {
        values.set(matrix, FLOATS * k);
        values.set(color, FLOATS * k + 16);
        values[FLOATS * k + 19] *= opacity;
      });
      gl.bindVertexArray(array);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      gl.drawElementsInstanced(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0, some.length);
    }
  }
}
