/**
 * Runs before anything is drawn. The service wrote the first view into the page, in the language that the browser asks for, so
 * that it is there before the modules are; app.mjs makes the rest of it, and takes up what was chosen meanwhile.
 */
{
  const root = document.documentElement;
  const stored = (which, name) => {
    try {
      return globalThis[which].getItem(name);
    } catch {
      return null; // a reader who blocks all cookies
    }
  };
  const chosen = stored("localStorage", "reroom.language");
  const comesBack = stored("sessionStorage", "reroom.draft") !== null;
  if (location.hash.length > 2 || comesBack || (chosen && chosen !== root.lang)) root.dataset.other = "";
  // What fails before the page is drawn leaves it undrawn.
  const fail = () => {
    const said = document.querySelector("[data-broken]");
    if (said) said.textContent = said.dataset.broken;
  };
  addEventListener("error", fail, { capture: true });
  addEventListener("unhandledrejection", fail);
  addEventListener("click", (event) => {
    if (event.target.id === "first-sample") root.dataset.sample = "";
  });
}
