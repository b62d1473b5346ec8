package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/wire"
)

// Listen gives take each report and distribution that workers send about runs, until ctx ends, which is no error. Any
// coordinator may listen, whether it leads or not; it has to see for itself which of them count. take must return soon:
// what comes while too much waits is lost.
func Listen(ctx context.Context, link Link, logger *slog.Logger, take func(wire.Message)) error {
	failed := func(_ *nats.Conn, _ *nats.Subscription, err error) { logger.Warn("listening to reports", "err", err) }
	nc, err := link.connect(userCoordinator, failed)
	if err != nil {
		return err
	}
	defer nc.Close()
	messages := make(chan *nats.Msg, room)
	if _, err = nc.ChanSubscribe(wire.WorkerSubjects, messages); err == nil {
		err = nc.Flush()
	}
	if err != nil && !errors.Is(err, nats.ErrTimeout) { // it subscribes again when the broker is back
		return fmt.Errorf("subscribe to %s: %w", wire.WorkerSubjects, err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-messages:
			m, err := wire.Decode(msg.Data)
			if err != nil {
				continue // the leader says so
			}
			switch m.(type) {
			case wire.Report, wire.Distributions:
			default:
				continue
			}
			if worker, _, _ := wire.Sender(msg.Subject); worker != sender(m) {
				continue
			}
			take(m)
		}
	}
}

func sender(m wire.Message) string {
	worker, _ := senderOf(m)
	return worker
}
