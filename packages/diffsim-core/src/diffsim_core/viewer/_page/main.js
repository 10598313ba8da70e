// Time, keys and buttons. Everything that can be clicked has a key, and the address can set the start: #t=2&play=0.

const THEMES = {
  light: {
    sky: [0.93, 0.95, 0.97], light: [0.9, 0.91, 0.92], dark: [0.83, 0.85, 0.87], line: [0.62, 0.66, 0.7],
    text: "#22272e", accent: "#0b62c4", faint: "#9aa4b055",
  },
  dark: {
    sky: [0.09, 0.1, 0.12], light: [0.22, 0.24, 0.27], dark: [0.17, 0.18, 0.21], line: [0.36, 0.4, 0.46],
    text: "#e6e9ee", accent: "#6cb2ff", faint: "#8a94a055",
  },
};
const SPEEDS = [0.05, 0.1, 0.25, 0.5, 1, 2, 4];

class Viewer {
  constructor(data) {
    this.motion = new Motion(data);
    this.time = 0; // in frames, with a fraction while playing
    this.world = 0;
    this.speed = 1;
    this.follow = true;
    this.dirty = true;
    const element = (id) => document.getElementById(id);
    this.element = element;
    this.renderer = new Renderer(element("picture"));
    this.scene = new Scene(this.motion, this.renderer);
    this.camera = new Camera(element("picture"), this.motion.viewDistance, () => (this.dirty = true));
    this.charts = new Charts(element("charts"), this.motion, (frame) => this.seek(frame));
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    const prefersDark = matchMedia("(prefers-color-scheme: dark)");
    this.setTheme(prefersDark.matches ? "dark" : "light");
    prefersDark.addEventListener("change", ({ matches }) => this.setTheme(matches ? "dark" : "light"));
    this.fillControls();
    this.readAddress();
    addEventListener("hashchange", () => this.readAddress());
    addEventListener("resize", () => (this.dirty = true));
    addEventListener("keydown", (event) => this.key(event));
    this.lookAtWorld();
    requestAnimationFrame((now) => this.tick(now, now));
  }

  fillControls() {
    const { element, motion } = this;
    document.title = motion.name;
    element("scrub").max = motion.frames - 1;
    element("scrub").addEventListener("input", () => this.seek(Number(element("scrub").value)));
    element("speed").append(...SPEEDS.map((s) => new Option(`${s}×`, s, s === 1, s === 1)));
    element("speed").addEventListener("change", () => this.setSpeed(Number(element("speed").value)));
    for (let w = 0; w < motion.worlds; w++) element("world").append(new Option(`world ${w}`, w));
    element("world").addEventListener("change", () => this.choose(Number(element("world").value)));
    element("world").hidden = motion.worlds < 2;
    const has = { shades: this.scene.shades.length > 1, contacts: motion.contacts.count && this.motion.contactFirst.at(-1) > 0, muscles: motion.muscles.width.length > 0,
      overlay: motion.worlds > 1 && !motion.terrain };
    for (const button of document.querySelectorAll("button[data-key]")) {
      const name = button.dataset.only;
      button.hidden = name !== undefined && !has[name];
      button.addEventListener("click", () => this.act(button.dataset.key));
    }
    element("notes").textContent = motion.notes.join(" ");
  }

  readAddress() {
    const options = new URLSearchParams(location.hash.slice(1));
    const number = (name) => (options.has(name) && isFinite(options.get(name)) ? Number(options.get(name)) : null);
    if (options.get("theme") in THEMES) this.setTheme(options.get("theme"));
    if (number("world") !== null) this.choose(number("world"));
    for (const name of ["azimuth", "elevation", "distance"])
      if (number(name) !== null) this.camera.home[name] = number(name);
    this.camera.reset();
    if (number("speed") !== null) this.setSpeed(number("speed"));
    if (this.scene.shades.includes(options.get("shade"))) this.scene.shade = options.get("shade");
    if (number("t") !== null) this.seek(number("t") / this.motion.dt);
    if (options.has("play")) this.playing = options.get("play") !== "0";
    document.body.classList.toggle("bare", options.get("controls") === "0");
    this.dirty = true;
  }

  setTheme(name) {
    document.documentElement.dataset.theme = name;
    this.theme = THEMES[name];
    this.dirty = true;
  }

  // Go to a frame and stay there.
  seek(frame) {
    this.time = clamp(frame, 0, this.motion.frames - 1);
    this.playing = false;
    this.dirty = true;
  }

  setSpeed(speed) {
    this.speed = clamp(speed, 0.01, 16);
    this.element("speed").value = String(speed);
    this.dirty = true;
  }

  choose(world) {
    this.world = clamp(Math.round(world), 0, this.motion.worlds - 1);
    this.element("world").value = String(this.world);
    this.dirty = true;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLSelectElement && event.key !== " ") return;
    if (this.act(event.key, event.shiftKey ? 10 : 1)) {
      event.preventDefault();
      document.activeElement?.blur();
    }
  }

  // What a key does; false if it does nothing.
  act(key, steps = 1) {
    const last = this.motion.frames - 1;
    const place = SPEEDS.findIndex((s) => s >= this.speed);
    const actions = {
      " ": () => this.play(!this.playing),
      ArrowLeft: () => this.seek(Math.ceil(this.time) - steps),
      ArrowRight: () => this.seek(Math.floor(this.time) + steps),
      Home: () => this.seek(0),
      End: () => this.seek(last),
      ",": () => this.setSpeed(SPEEDS[Math.max(place - 1, 0)]),
      ".": () => this.setSpeed(SPEEDS[Math.min(place + 1, SPEEDS.length - 1)]),
      w: () => this.choose((this.world + 1) % this.motion.worlds),
      f: () => (this.follow = !this.follow),
      r: () => this.camera.reset(),
      c: () => (this.scene.show.contacts = !this.scene.show.contacts),
      m: () => (this.scene.show.muscles = !this.scene.show.muscles),
      p: () => this.scene.nextShade(),
      o: () => (this.scene.overlaid = !this.scene.overlaid || Boolean(this.motion.terrain)),
      t: () => this.setTheme(this.theme === THEMES.dark ? "light" : "dark"),
      h: () => (this.element("help").hidden = !this.element("help").hidden),
      Escape: () => (this.element("help").hidden = true),
    };
    const action = actions[key] ?? actions[key.toLowerCase?.()];
    if (!action) return false;
    action();
    this.dirty = true;
    return true;
  }

  play(on) {
    if (on && this.time >= this.motion.frames - 1) this.time = 0;
    this.playing = on;
  }

  tick(now, before) {
    if (this.playing) {
      this.time += ((now - before) / 1000 / this.motion.dt) * this.speed;
      if (this.time >= this.motion.frames - 1) this.time = 0; // begin again
      this.dirty = true;
    }
    if (this.dirty) this.draw();
    requestAnimationFrame((next) => this.tick(next, now));
  }

  lookAtWorld() {
    const root = add(this.motion.rootBetween(this.time, this.world), this.scene.offset(this.world));
    this.camera.target = [root[0], root[1], this.motion.viewHeight];
  }

  draw() {
    this.dirty = false;
    const { renderer, scene, camera, theme } = this;
    const canvas = renderer.canvas;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (this.follow) this.lookAtWorld();
    scene.draw(this.time, this.world, theme.light);
    const { planes, groundHeight } = scene;
    renderer.draw({ ...camera.matrices(canvas.width / canvas.height), planes, groundHeight, theme });
    this.charts.draw(this.time, this.world, theme);
    this.write();
  }

  write() {
    const { motion, element } = this;
    const frame = Math.floor(this.time);
    element("scrub").value = frame;
    element("play").textContent = this.playing ? "Pause" : "Play";
    element("name").textContent = motion.name;
    const parts = [`${(this.time * motion.dt).toFixed(2)} s`, `frame ${frame} of ${motion.frames}`];
    parts.push(`episode ${motion.episode(frame, this.world)}`);
    const contacts = motion.contactsAt(frame, this.world);
    if (contacts.length) parts.push(`contact ${contacts.reduce((sum, c) => sum + norm(c.force), 0).toFixed(0)} N`);
    if (this.scene.shade) parts.push(this.scene.legend());
    element("readout").textContent = parts.join(" · ");
    document.body.dataset.frame = frame;
    document.body.dataset.playing = this.playing;
    for (const [key, on] of [["f", this.follow], ["c", this.scene.show.contacts], ["m", this.scene.show.muscles], ["o", this.scene.overlaid]])
      document.querySelector(`button[data-key="${key}"]`)?.setAttribute("aria-pressed", String(on));
  }
}

try {
  window.viewer = new Viewer(JSON.parse(document.getElementById("motion").textContent));
} catch (error) {
  const box = document.getElementById("error");
  box.hidden = false;
  box.textContent = `The motion cannot be shown: ${error.message}.`;
  throw error;
}
