// What is drawn of a motion at a time: shapes, muscles, contact forces, in every world that is shown.

const RELAXED = [0.86, 0.72, 0.66], TENSE = [0.78, 0.06, 0.06];
const ARROW = [0.15, 0.65, 1, 1];
const SEEN_THROUGH = 0.25; // how opaque bodies are while muscles are shown

class Scene {
  constructor(motion, renderer) {
    this.motion = motion;
    this.renderer = renderer;
    this.overlaid = Boolean(motion.terrain); // uneven ground is where it is: worlds cannot stand side by side on it
    this.show = { contacts: true, muscles: true };
    this.shades = [null, ...new Set(motion.soft.flatMap(({ shades }) => shades.map(({ name }) => name)))];
    this.shade = null; // by which soft bodies are coloured
    if (motion.soft.length) renderer.soft = new SoftPainter(renderer, motion.soft);
    const still = motion.shapes.filter(({ body }) => body < 0);
    this.planes = still.filter(({ type }) => type === "plane").map(({ pos, quat }) => placed(pos, quat));
    const level = this.planes.find((m) => m[10] > 0.9999);
    this.groundHeight = level ? level[14] : null;
    // What a shape is made of: unit meshes with matrices in its body's frame.
    this.parts = motion.shapes.flatMap((shape, k) => partsOf(shape, k).map((part) => ({ ...part, ...shape })));
    if (motion.terrain) {
      const heights = new Float32Array(bytes(motion.terrain.heights));
      renderer.addMesh("terrain", terrainMesh({ ...motion.terrain, heights }));
    }
  }

  // How far a world is moved aside [m].
  offset(world) {
    return [0, this.overlaid ? 0 : (world - (this.motion.worlds - 1) / 2) * this.motion.spacing, 0];
  }

  draw(time, chosen, ground) {
    const frame = Math.floor(time);
    const seeThrough = this.show.muscles && this.motion.muscles.width.length > 0;
    if (this.motion.terrain) this.renderer.put("terrain", placed([0, 0, 0], [1, 0, 0, 0]), [...ground, 1], "free");
    for (let world = 0; world < this.motion.worlds; world++) {
      const aside = this.offset(world);
      const faint = this.overlaid && this.motion.worlds > 1 && world !== chosen;
      const bodies = this.motion.matrices(time, world).map((m) => moved(m, aside));
      const fixed = placed(aside, [1, 0, 0, 0]);
      for (const { mesh, matrix, body, rgba } of this.parts) {
        if (body < 0 && world && this.overlaid) continue;
        const opacity = faint ? 0.3 : seeThrough && body >= 0 ? SEEN_THROUGH : 1;
        const color = [...rgba.slice(0, 3), opacity * rgba[3]];
        this.renderer.put(mesh, multiply(body < 0 ? fixed : bodies[body], matrix), color, faint ? "free" : "solid");
      }
      if (!this.overlaid || world === chosen) this.drawSoft(time, world, aside);
      if (faint) continue;
      if (this.show.muscles) this.drawMuscles(frame, world, bodies, fixed);
      if (this.show.contacts) this.drawContacts(frame, world, aside);
    }
  }

  drawSoft(time, world, aside) {
    const frame = Math.floor(time);
    this.motion.soft.forEach((body, k) => {
      body.place(frame, this.motion.partBetween(time, world), world, aside);
      body.paint(frame, world, this.shade);
      this.renderer.soft.put(k, body);
    });
  }

  nextShade() {
    this.shade = this.shades[(this.shades.indexOf(this.shade) + 1) % this.shades.length];
  }

  // What the colours of soft bodies mean, for the line above the picture.
  legend() {
    if (!this.shade) return "";
    const { low, high } = this.motion.soft.flatMap(({ shades }) => shades).find(({ name }) => name === this.shade);
    return `colour: ${this.shade} ${Number(low.toPrecision(3))} to ${Number(high.toPrecision(3))}`;
  }

  drawMuscles(frame, world, bodies, fixed) {
    const { muscle, body, pos, width } = this.motion.muscles;
    muscle.forEach((m, s) => {
      const ends = [0, 1].map((k) => apply(body[s][k] < 0 ? fixed : bodies[body[s][k]], pos[s][k]));
      const active = this.motion.activationOf(frame, world, m);
      const thick = 0.5 * width[m] * (0.6 + 0.8 * active);
      this.renderer.put("tube", between(ends[0], ends[1], thick), [...mix(RELAXED, TENSE, active), 1], "free");
    });
  }

  drawContacts(frame, world, aside) {
    for (const { point, force } of this.motion.contactsAt(frame, world)) {
      const arrow = scale(force, 1 / this.motion.contacts.newtonsPerMetre);
      const length = norm(arrow);
      if (length < 0.01) continue;
      const head = Math.min(0.12, 0.4 * length);
      const from = add(point, aside);
      const neck = add(from, scale(arrow, 1 - head / length));
      this.renderer.put("tube", between(from, neck, 0.012), ARROW, "mark");
      this.renderer.put("cone", between(neck, add(from, arrow), 0.035), ARROW, "mark");
    }
  }
}

function moved(matrix, aside) {
  matrix[12] += aside[0];
  matrix[13] += aside[1];
  matrix[14] += aside[2];
  return matrix;
}

function partsOf({ pos, quat, parts }, k) {
  // Each a little larger than the last, so that surfaces in the same place do not flicker.
  const swell = 1 + 0.003 * (k % 6);
  const frame = placed(pos, quat, [swell, swell, swell]);
  return parts.map(([mesh, half, z]) => ({
    mesh, matrix: multiply(frame, placed([0, 0, z], [1, 0, 0, 0], half))
  }));
}
