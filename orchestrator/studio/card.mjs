/** A room in a list, by its small picture: a link to it. */
import { isFavourite } from "./progress.mjs";
import { html } from "./ui.mjs";
import { listed, named, styleTitle, t, when } from "./words.mjs";

/** The mark of a favourite on its small picture. */
export const Star = () => html`<span class="star" role="img" aria-label=${t("favourite")}>★</span>`;

/** `picture`: an address, or undefined where there is none. */
export function Card({ job, picture }) {
  const style = job.children ? listed([...new Set(job.children.map((each) => styleTitle(each.style)))]) : styleTitle(job.style);
  return html`<li><a class="card" href="#/room/${job.job_id}">
    ${picture ? html`<img src=${picture} alt="" width="320" height="240" loading="lazy" />` : html`<span class="state">${named("states", job.status)}</span>`}
    ${picture && job.children && html`<span class="count">${t("severalPictures", { n: job.children.length })}</span>`}
    <span class="name">${style}</span>
    ${isFavourite(job) && html`<${Star} />`}
    <time datetime=${job.created_at}>${when(job.created_at)}</time>
  </a></li>`;
}
