/** Walks past others who wait. */
import { PHONE, heading, opened } from "../browser.mjs";
import { axe, press, withSample } from "../steps.mjs";

export const waiting = (browser, given) => ({
  "where others wait before": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    // The service is not so busy: its messages say that it is, and those after the first are held back.
    let go;
    const turn = new Promise((come) => (go = come));
    await page.routeWebSocket(/\/ws\//, (socket) => {
      const server = socket.connectToServer();
      server.onMessage(async (text) => {
        const message = JSON.parse(text);
        if (message.type === "connected") return socket.send(text);
        if (message.type !== "snapshot") await turn;
        if (message.type === "snapshot") Object.assign(message.data, { status: "queued", progress: 0, queue_position: 3, estimated_time_remaining: 130, result: undefined });
        if (message.type === "completed") message.data.expires_at = "2130-12-27T12:00:00Z";
        return socket.send(JSON.stringify(message));
      });
      // The job may be done before they go on, and the connection with it.
      server.onClose(async (code, reason) => {
        await turn;
        await socket.close({ code, reason });
      });
    });
    await withSample(page, given.base);
    await press(page, "Restyle this room");
    await page.locator(".progress").getByText("In the queue: 3 before you").waitFor();
    await page.getByText("about 2 min left").waitFor();
    await page.getByRole("button", { name: "Cancel" }).waitFor();
    await axe(page);
    go();
    await heading(page, /^Your room in/).waitFor();
    await page.getByText("Kept until 27 December 2130. Favourites stay.").waitFor();
    await context.close();
    return complaints;
  },
});
