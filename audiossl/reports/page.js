// Players, maps and sorting; the page can be read without any of it.
document.documentElement.classList.add("js");

// A spectrogram is its own player: a click plays or pauses, a line shows where.
let sounding = null;
for (const figure of document.querySelectorAll(".sound")) {
  const audio = figure.querySelector("audio"), button = figure.querySelector("button");
  if (!audio || !button) continue;
  const line = button.querySelector("i");
  const follow = () => {
    if (audio.duration) line.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
    if (!audio.paused) requestAnimationFrame(follow);
  };
  button.addEventListener("click", () => {
    if (!audio.paused) return audio.pause();
    if (sounding && sounding !== audio) sounding.pause();
    sounding = audio;
    audio.play();
  });
  audio.addEventListener("play", () => { button.classList.add("playing"); follow(); });
  audio.addEventListener("pause", () => button.classList.remove("playing"));
}

// Maps: one panel an encoder, all colored by one label at a time.
for (const section of document.querySelectorAll("[data-maps]")) {
  const data = JSON.parse(section.querySelector("script").textContent);
  const select = section.querySelector("select"), legend = section.querySelector(".legend");
  const panels = [...section.querySelectorAll(".map")];
  const few = ["--s0", "--s1", "--s2", "--s3", "--s4", "--s5"];
  const color = (index, count) =>
    count <= few.length ? `var(${few[index]})`
      : `hsl(${(360 * index) / count} ${index % 2 ? 75 : 55}% ${[44, 58, 66][index % 3]}%)`;
  const draw = () => {
    const values = data.labels[select.value];
    const counts = new Map();
    for (const value of values) if (value) counts.set(value, (counts.get(value) || 0) + 1);
    const classes = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
    for (const panel of panels) {
      const places = data.places[panel.dataset.encoder];
      const paths = new Map([["", []], ...classes.map((name) => [name, []])]);
      places.forEach(([x, y], row) => paths.get(values[row]).push(`M${x * 100} ${100 - y * 100}h0`));
      panel.querySelector("svg").innerHTML = [...paths].map(([name, marks]) => {
        const stroke = name ? color(classes.indexOf(name), classes.length) : "var(--rule)";
        return `<path d="${marks.join("")}" style="stroke:${stroke}" data-class="${classes.indexOf(name)}"/>`;
      }).join("");
    }
    legend.replaceChildren(...classes.map((name, index) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const chip = document.createElement("i");
      chip.style.background = color(index, classes.length);
      button.append(chip, `${name} `);
      button.setAttribute("aria-pressed", "false");
      const show = (on) => section.querySelectorAll("path").forEach((path) =>
        path.classList.toggle("faint", on && path.dataset.class !== String(index)));
      button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(true); });
      button.addEventListener("pointerleave", () => { if (!legend.querySelector("[aria-pressed=true]")) show(false); });
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        legend.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", "false"));
        button.setAttribute("aria-pressed", String(on));
        show(on);
      });
      item.append(button);
      return item;
    }));
  };
  for (const panel of panels) {
    panel.addEventListener("pointermove", (event) => {
      const box = panel.querySelector("svg").getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width, y = 1 - (event.clientY - box.top) / box.height;
      let best = -1, least = 0.0009;
      data.places[panel.dataset.encoder].forEach(([px, py], row) => {
        const distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < least) { least = distance; best = row; }
      });
      const label = best < 0 ? "" : data.labels[select.value][best];
      panel.querySelector("output").textContent = best < 0 ? "" : `${data.ids[best]}${label ? ` (${label})` : ""}`;
    });
  }
  select.addEventListener("change", draw);
  draw();
}

// Pairs: sorted and filtered where they are.
for (const controls of document.querySelectorAll("[data-pairs]")) {
  const list = document.getElementById(controls.dataset.pairs);
  const cards = [...list.children];
  const order = controls.querySelector("[name=order]"), source = controls.querySelector("[name=source]");
  const arrange = () => {
    const [key, direction] = order.value.split(" ");
    const value = (card) => (key === "recording" ? card.dataset.recording : Number(card.dataset[key]));
    const sorted = [...cards].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (direction === "down" ? -1 : 1);
    });
    for (const card of sorted) card.hidden = source.value !== "" && card.dataset.source !== source.value;
    list.replaceChildren(...sorted);
  };
  order.addEventListener("change", arrange);
  source.addEventListener("change", arrange);
}
