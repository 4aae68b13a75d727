/** Server-sent events, as the HTML standard defines them: pieces of text in, the data of events out. */

/** Is fed the text of a stream as it arrives. @internal */
export class EventStreamParser {
  #rest = "";
  #data: string[] = [];

  /** The data of the events that this piece completes. */
  feed(piece: string): string[] {
    const found: string[] = [];
    const text = this.#rest + piece;
    // A line ends with CR LF, LF or CR; a CR at the end may be half of a CR LF.
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) found.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line === "data" || line.startsWith("data:")) {
        this.#data.push(line.slice(5).replace(/^ /, ""));
      }
    }
    return found;
  }
}
