/** Lays the photo over the picture, under a slider. Without this both are shown one after the other. */
addEventListener("DOMContentLoaded", () => {
  const pair = document.querySelector(".pair");
  if (!pair) return;
  const { compare, share } = pair.dataset;
  const shown = pair.querySelector("img");
  const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent", maximumFractionDigits: 0 });
  const border = Object.assign(document.createElement("span"), { className: "border" });
  border.setAttribute("aria-hidden", "true");
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: 50 });
  slider.setAttribute("aria-label", compare);
  const move = () => {
    pair.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", share.replace("{share}", percent.format(slider.value / 100)));
  };
  slider.addEventListener("input", move);
  // A browser may have kept where it was when one comes back.
  slider.autocomplete = "off";
  move();
  const [width, height] = ["width", "height"].map((side) => Number(shown.getAttribute(side)));
  if (width && height) pair.style.setProperty("--shape", width / height);
  pair.classList.add("compare");
  pair.append(border, slider);
});
