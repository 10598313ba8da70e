// Vectors are arrays of 3, quaternions of 4 (wxyz), matrices Float32Array(16) by columns, as WebGL takes them.

const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const scale = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = (a) => Math.sqrt(dot(a, a));
const unit = (a) => scale(a, 1 / (norm(a) || 1));
const mix = (a, b, s) => a.map((x, i) => x + s * (b[i] - x));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// Rotation by a quaternion of any length, at a position, after stretching by s along the axes.
function placed(p, q, s = [1, 1, 1]) {
  const n = 2 / (q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3] || 1);
  const [w, x, y, z] = q;
  return new Float32Array([
    (1 - n * (y * y + z * z)) * s[0], n * (x * y + w * z) * s[0], n * (x * z - w * y) * s[0], 0,
    n * (x * y - w * z) * s[1], (1 - n * (x * x + z * z)) * s[1], n * (y * z + w * x) * s[1], 0,
    n * (x * z + w * y) * s[2], n * (y * z - w * x) * s[2], (1 - n * (x * x + y * y)) * s[2], 0,
    p[0], p[1], p[2], 1,
  ]);
}

function multiply(a, b) {
  const out = new Float32Array(16);
  for (let j = 0; j < 4; j++)
    for (let i = 0; i < 4; i++)
      out[4 * j + i] = a[i] * b[4 * j] + a[4 + i] * b[4 * j + 1] + a[8 + i] * b[4 * j + 2] + a[12 + i] * b[4 * j + 3];
  return out;
}

const apply = (m, p) => [0, 1, 2].map((i) => m[i] * p[0] + m[4 + i] * p[1] + m[8 + i] * p[2] + m[12 + i]);

// A cylinder of radius r about the z axis from -1 to 1, laid from a to b.
function between(a, b, r) {
  const axis = scale(sub(b, a), 0.5);
  const side = unit(cross(axis, Math.abs(axis[2]) < 0.9 * norm(axis) ? [0, 0, 1] : [1, 0, 0]));
  const other = cross(unit(axis), side);
  const middle = scale(add(a, b), 0.5);
  return new Float32Array([...scale(side, r), 0, ...scale(other, r), 0, ...axis, 0, ...middle, 1]);
}

function perspective(fov, aspect, near, far) {
  const f = 1 / Math.tan(fov / 2);
  const d = 1 / (near - far);
  return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (near + far) * d, -1, 0, 0, 2 * near * far * d, 0]);
}

function lookAt(eye, target) {
  const back = unit(sub(eye, target));
  const right = unit(cross([0, 0, 1], back));
  const up = cross(back, right);
  return new Float32Array([
    right[0], up[0], back[0], 0,
    right[1], up[1], back[1], 0,
    right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
  ]);
}
