"""The ORM on a database in memory."""
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, func
from sqlalchemy.orm import Session, declarative_base, relationship

Base = declarative_base()


class Customer(Base):
    __tablename__ = 'customers'
    id = Column(Integer, primary_key=True)
    name = Column(String(50))
    orders = relationship('Order', back_populates='customer')


class Order(Base):
    __tablename__ = 'orders'
    id = Column(Integer, primary_key=True)
    pieces = Column(Integer)
    customer_id = Column(Integer, ForeignKey('customers.id'))
    customer = relationship(Customer, back_populates='orders')


def work():
    engine = create_engine('sqlite://')
    Base.metadata.create_all(engine)
    session = Session(engine)
    session.add(Customer(name='Ada', orders=[Order(pieces=2), Order(pieces=3)]))
    session.add(Customer(name='Grace', orders=[Order(pieces=10)]))
    session.commit()
    total = func.sum(Order.pieces)
    query = session.query(Customer.name, total).join(Customer.orders).group_by(Customer.name)
    found = query.having(total > 4).order_by(total.desc()).all()
    session.close()
    engine.dispose()
    return ' '.join('%s:%d' % tuple(pair) for pair in found)
