/**
 * Runs before anything is drawn. The service wrote the first view into the page, in the language that the browser asks for, so
 * that it is there before the modules are; app.mjs makes the rest of it, and takes up what was chosen meanwhile.
 */
{
  const root = document.documentElement;
  const chosen = localStorage.getItem("reroom.language");
  const comesBack = sessionStorage.getItem("reroom.draft") !== null;
  if (location.hash.length > 2 || comesBack || (chosen && chosen !== root.lang)) root.dataset.other = "";
  addEventListener("click", (event) => {
    if (event.target.id === "first-sample") root.dataset.sample = "";
  });
}
