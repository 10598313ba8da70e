// The recorded motion: unpacks what _encode.py wrote and gives poses at any time.

function bytes(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
}

class Motion {
  constructor(data) {
    Object.assign(this, data);
    this.root = new Float32Array(bytes(data.root));
    this.position = new Int16Array(bytes(data.position));
    this.quaternion = new Int16Array(bytes(data.quaternion));
    this.activation = new Uint8Array(bytes(data.activation));
    this.curves = data.curves.map(({ name, values }) => ({ name, values: new Float32Array(bytes(values)) }));
    const { count, point, force } = data.contacts;
    this.contactCount = new Uint16Array(bytes(count));
    this.contactPoint = new Int16Array(bytes(point));
    this.contactForce = new Int16Array(bytes(force));
    this.contactFirst = new Uint32Array(this.contactCount.length + 1);
    this.contactCount.forEach((n, i) => (this.contactFirst[i + 1] = this.contactFirst[i] + n));
    this.begins = data.begins.map((frames) => new Set(frames));
    this.soft = data.soft.map((body) => new SoftBody(body, data.frames, data.worlds, this.begins));
    this.addReturns();
  }

  // The sum of rewards of an episode up to each frame, drawn below the reward.
  addReturns() {
    const at = this.curves.findIndex(({ name }) => name === "reward");
    if (at < 0) return;
    const reward = this.curves[at].values;
    const sums = new Float32Array(reward.length);
    for (let world = 0; world < this.worlds; world++) {
      let sum = 0;
      for (let t = 0; t < this.frames; t++) {
        if (this.begins[world].has(t)) sum = 0;
        sum += reward[t * this.worlds + world] || 0;
        sums[t * this.worlds + world] = sum;
      }
    }
    this.curves.splice(at + 1, 0, { name: "return so far", values: sums });
  }

  rootAt(frame, world) {
    const k = 3 * (frame * this.worlds + world);
    return [this.root[k], this.root[k + 1], this.root[k + 2]];
  }

  // Position [m] and quaternion of a body in a frame.
  pose(frame, world, body) {
    const k = (frame * this.worlds + world) * this.bodies.length + body;
    const q = 4 * k, step = this.positionStep, root = this.rootAt(frame, world);
    return {
      position: root.map((x, i) => x + this.position[3 * k + i] * step),
      quaternion: [0, 1, 2, 3].map((i) => this.quaternion[q + i] / 32767),
    };
  }

  // Matrices of all bodies at a time between frames; a new episode is not slid into.
  matrices(time, world) {
    const frame = Math.floor(time);
    const part = this.partBetween(time, world);
    return this.bodies.map((_, body) => {
      const a = this.pose(frame, world, body);
      if (!part) return placed(a.position, a.quaternion);
      const b = this.pose(frame + 1, world, body);
      const same = a.quaternion.reduce((sum, x, i) => sum + x * b.quaternion[i], 0);
      const turned = same < 0 ? b.quaternion.map((x) => -x) : b.quaternion;
      return placed(mix(a.position, b.position, part), mix(a.quaternion, turned, part));
    });
  }

  partBetween(time, world) {
    const frame = Math.floor(time);
    const last = frame + 1 >= this.frames || this.begins[world].has(frame + 1);
    return last ? 0 : time - frame;
  }

  // What the camera follows: soft bodies, or else the first rigid one.
  rootBetween(time, world) {
    const frame = Math.floor(time);
    const part = this.partBetween(time, world);
    const at = (t) => (this.soft.length ? this.soft[0].centre(t, world) : this.rootAt(t, world));
    return part ? mix(at(frame), at(frame + 1), part) : at(frame);
  }

  // [{point, force}] in a frame [m], [N].
  contactsAt(frame, world) {
    const row = frame * this.worlds + world;
    const root = this.rootAt(frame, world);
    const found = [];
    for (let k = this.contactFirst[row]; k < this.contactFirst[row + 1]; k++) {
      const at = (array, step) => [0, 1, 2].map((i) => array[3 * k + i] * step);
      const point = add(root, at(this.contactPoint, this.contacts.pointStep));
      found.push({ point, force: at(this.contactForce, this.contacts.forceStep) });
    }
    return found;
  }

  // Of a muscle in a frame, from 0 to 1.
  activationOf(frame, world, muscle) {
    const n = this.muscles.width.length;
    return this.activation[(frame * this.worlds + world) * n + muscle] / 255;
  }

  value(curve, frame, world) {
    return curve.values[frame * this.worlds + world];
  }

  // Number of the episode that a frame belongs to, from 1.
  episode(frame, world) {
    let number = 0;
    for (const first of this.begins[world]) if (first <= frame) number++;
    return Math.max(number, 1);
  }
}
